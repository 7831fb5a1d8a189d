# Sourced by run.sh: case (l), `vobs load --observe` on one server: both endpoints, each in a
# closed and in an open loop.
#
# shellcheck shell=bash disable=SC2154

# Loads of different seeds share no prompts. The prompts of the first one share 300 of 400
# tokens, of which the engine's cache holds whole blocks.
declare -A loads=(
  [closed]="--concurrency 8 --requests 96 --warmup 8 --prompt-tokens 400 --output-tokens 24 --shared-prefix 0.75 --seed 21"
  [open]="--rate 6 --requests 72 --warmup 6 --prompt-tokens 100..300 --output-tokens 8..40 --seed 22"
  [chat]="--endpoint chat --concurrency 8 --requests 64 --prompt-tokens 20..60 --output-tokens 24 --seed 23"
  [openchat]="--endpoint chat --rate 6 --arrivals gamma:0.5 --requests 60 --prompt-tokens 20..60 --output-tokens lognormal:16,0.5 --seed 24"
)

case_l() {
  local out="$E2E_OUT/l" port url server name status failed=0 flags
  rm -rf "$out"
  mkdir -p "$out"
  port=$(free_port)
  url="http://127.0.0.1:$port"
  engine_command "$port"
  start "$out/server.log" "${ENGINE_COMMAND[@]}" --max-num-seqs 24
  server=$started
  warm "$port" "$server" "$out/warmup" || {
    tail -n 40 "$out/server.log" "$out/warmup.log" >&2
    die "(l) no warm server"
  }
  for name in closed open chat openchat; do
    status=0
    read -ra flags <<<"${loads[$name]}"
    page "$port" "$out/$name.before.prom"
    start "$out/$name.log" "$vobs" load "${flags[@]}" --observe "$url/v1" -o "$out/$name.json" --save-requests "$out/$name.jsonl" "$url/v1"
    await "$E2E_LOAD_LIMIT" "$started" || status=$?
    cat "$out/$name.log"
    [ "$status" = 0 ] || die "(l $name) vobs load ended with $status"
    page "$port" "$out/$name.after.prom"
    validate "$out/$name.json" "l $name"
    "$E2E_PYTHON" -B "$E2E_SRC/check_load.py" "$name" "$out/$name.json" "$out/$name.before.prom" "$out/$name.after.prom" || failed=1
  done
  return "$failed"
}
