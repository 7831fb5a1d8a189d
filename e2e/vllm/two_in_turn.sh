#!/usr/bin/env bash
# Sends a load to a server, replaces the server by another one at the same port, and sends
# the second one a load too. run.sh runs it under `vobs run`.
#
#     two_in_turn.sh PORT PID FOLDER 'ARGUMENTS OF client.py' FLAG OF THE SECOND SERVER...
#
# PID leads the first server's session. To FOLDER it writes turn.client.json and
# turn.second.client.json, what the clients counted, and each server's last page.
set -euo pipefail

# shellcheck source=e2e/vllm/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

port=$1
first=$2
folder=$3
read -ra load <<<"$4"
shift 4
# Seconds between the last answer and the end of a server, so that polls see the final figures.
quiet=3

client=("$E2E_PYTHON" "$E2E_SRC/client.py" --url "http://127.0.0.1:$port" --model "$E2E_MODEL_NAME" --requests 128 --concurrency 32 "${load[@]}")
"${client[@]}" --seed 41 --out "$folder/turn.client.json"
sleep "$quiet"
page "$port" "$folder/turn.after.prom"
kill -TERM "$first"
while [ -e "/proc/$first" ] && ! grep -q '^State:.Z' "/proc/$first/status"; do sleep 0.1; done

engine_env
engine_command "$port"
PROMETHEUS_MULTIPROC_DIR="$folder/second.metrics" "${ENGINE_COMMAND[@]}" "$@" >"$folder/second.log" 2>&1 &
server=$!
end_server() { kill -TERM "$server" 2>/dev/null || true; }
trap end_server EXIT
"${client[@]}" --seed 42 --wait "$E2E_START_LIMIT" --wait-pid "$server" --out "$folder/turn.second.client.json"
sleep "$quiet"
page "$port" "$folder/turn.second.prom"

trap - EXIT
end_server
wait "$server"
