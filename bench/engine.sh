#!/usr/bin/env bash
# Measures throughput and time to first token of a real vLLM (CPU build, tiny model),
# with and without vobs around the client, in turn (engine.py). Needs bin/vobs (another
# one: VOBS=path). ROUNDS=12 rounds take about six minutes. If vLLM's packages cannot be
# fetched, it prints "bench-vllm: SKIPPED" and exits with status 0.
set -euo pipefail

# shellcheck source=e2e/vllm/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../e2e/vllm/env.sh"

vobs=${VOBS:-$E2E_ROOT/bin/vobs}
out=$E2E_ROOT/.e2e/bench/engine
status=0
"$E2E_SRC/setup.sh" >&2 || status=$?
if [ "$status" = 77 ]; then
	echo "bench-vllm: SKIPPED: vLLM's packages cannot be fetched here (see the reason above)" >&2
	exit 0
fi
[ "$status" = 0 ] || exit "$status"
engine_env
unset "${!VOBS_@}" # settings of vobs in the user's environment
mkdir -p "$out"
port=$("$E2E_PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
engine_command "$port"
setsid "${ENGINE_COMMAND[@]}" >"$out/server.log" 2>&1 </dev/null &
server=$!
trap 'kill -TERM -- "-$server" 2>/dev/null || true; wait "$server" || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

client=("$E2E_PYTHON" "$E2E_SRC/client.py" --model "$E2E_MODEL_NAME" --concurrency 8 --prompt-tokens 256)
"${client[@]}" --url "http://127.0.0.1:$port" --wait "$E2E_START_LIMIT" --wait-pid "$server" --requests 32 --max-tokens 32 >&2 || {
	tail -n 40 "$out/server.log" >&2
	exit 1
}
"$E2E_PYTHON" "$E2E_ROOT/bench/engine.py" --url "http://127.0.0.1:$port" --vobs "$vobs" --out "$out" --rounds "${ROUNDS:-12}" -- \
	"${client[@]}" --requests 128 --max-tokens 96
