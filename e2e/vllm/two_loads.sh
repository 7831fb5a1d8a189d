#!/usr/bin/env bash
# Sends a load to each of two servers at the same time.
#
#     two_loads.sh PORT PORT FOLDER [ARGUMENTS OF client.py FOR BOTH LOADS]
#
# It writes load0.json and load1.json, what each client counted, to FOLDER.
set -euo pipefail

# shellcheck source=e2e/vllm/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

ports=("$1" "$2")
folder=$3
shift 3

clients=()
for i in 0 1; do
  # Different prompts for each, so that their figures cannot be mistaken for each other's.
  "$E2E_PYTHON" "$E2E_SRC/client.py" --url "http://127.0.0.1:${ports[i]}" --model "$E2E_MODEL_NAME" \
    --seed "$((21 + i))" "$@" --out "$folder/load$i.json" &
  clients+=("$!")
done
status=0
for client in "${clients[@]}"; do wait "$client" || status=$?; done
exit "$status"
