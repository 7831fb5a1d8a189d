# Sourced by run.sh: case (v), the validity notes of four runs on one server that is fresh:
#
#     first   a load: no note but those of the machine itself
#     second  the same prompts again: warm_prefix_cache
#     busy    a process outside the command burns a core: busy_host
#     own     the command itself burns a core: no busy_host
#
# shellcheck shell=bash disable=SC2154

# A process that keeps one core busy.
burn=("$E2E_PYTHON" -c 'while True: pass')

case_v() {
  local out="$E2E_OUT/v" port name status burner
  rm -rf "$out"
  mkdir -p "$out"
  port=$(free_port)
  engine_command "$port"
  start "$out/server.log" "${ENGINE_COMMAND[@]}" --max-num-seqs 24
  # It answers before it has served anything, so that the first load finds an empty cache.
  local server=$started deadline=$((SECONDS + E2E_START_LIMIT))
  until page "$port" "$out/before.prom" 2>/dev/null && [ -s "$out/before.prom" ]; do
    kill -0 "$server" 2>/dev/null && ((SECONDS < deadline)) || {
      tail -n 40 "$out/server.log" >&2
      die "(v) no server"
    }
    sleep 0.5
  done
  local client=("$E2E_PYTHON" "$E2E_SRC/client.py" --url "http://127.0.0.1:$port" --model "$E2E_MODEL_NAME" "${load[@]}")
  for name in first second busy own; do
    status=0 burner=
    # Other prompts, but for those of the second run.
    local seed=1
    [ "$name" != busy ] || seed=2
    [ "$name" != own ] || seed=3
    local command=("${client[@]}" --seed "$seed" --out "$out/$name.client.json")
    [ "$name" != own ] || command=(bash -c '"${@:2:$1}" & burner=$!; "${@:2+$1}"; status=$?; kill "$burner"; exit "$status"' - "${#burn[@]}" "${burn[@]}" "${command[@]}")
    if [ "$name" = busy ]; then
      start "$out/burner.log" "${burn[@]}"
      burner=$started
    fi
    start "$out/$name.log" "$vobs" run -q --metrics-url "http://127.0.0.1:$port" -o "$out/$name.json" -- "${command[@]}"
    await "$E2E_LOAD_LIMIT" "$started" || status=$?
    [ -z "$burner" ] || kill "$burner"
    cat "$out/$name.log"
    [ "$status" = 0 ] || die "(v $name) vobs run ended with $status"
    validate "$out/$name.json" "v $name"
  done
  "$E2E_PYTHON" -B "$E2E_SRC/check_validity.py" "$out"/{first,second,busy,own}.json
}
