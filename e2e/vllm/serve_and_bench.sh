#!/usr/bin/env bash
# A user's benchmark script: it starts a server, waits for it, warms it up, sends
# requests and stops it. run.sh runs it under `vobs run`, without the server's address.
#
#     serve_and_bench.sh PORT FOLDER [ARGUMENTS OF client.py FOR THE LOAD]
#
# E2E_ENGINE_FLAGS are further flags of the server. It writes warmup.json, load.json (what
# the client counted) and server.log to FOLDER.
set -euo pipefail

# shellcheck source=e2e/vllm/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

port=$1
folder=$2
shift 2
# Seconds between the last answer and the end of the server, so that polls see the final
# figures.
quiet=${E2E_QUIET:-5}

engine_env
engine_command "$port"
# shellcheck disable=SC2086
"${ENGINE_COMMAND[@]}" ${E2E_ENGINE_FLAGS-} >"$folder/server.log" 2>&1 &
server=$!
end_server() { kill -TERM "$server" 2>/dev/null || true; }
trap end_server EXIT

client=("$E2E_PYTHON" "$E2E_SRC/client.py" --url "http://127.0.0.1:$port" --model "$E2E_MODEL_NAME")
"${client[@]}" --wait "$E2E_START_LIMIT" --wait-pid "$server" \
  --requests 6 --concurrency 3 --max-tokens 16 --seed 11 --out "$folder/warmup.json"
"${client[@]}" "$@" --out "$folder/load.json"
sleep "$quiet"

trap - EXIT
end_server
status=0
wait "$server" || status=$?
echo "serve_and_bench: the server ended with $status"
exit "$status"
