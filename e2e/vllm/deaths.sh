# Sourced by run.sh: case (c), an engine that dies. Each way to die needs an engine of its
# own. DEATHS selects some of them; the default is all.
# shellcheck shell=bash disable=SC2154

case_c() {
  local out port status failed=0 death extra limit=$((E2E_START_LIMIT + E2E_LOAD_LIMIT))
  for death in ${DEATHS:-term ctrlc drain unseen core worker api files startup}; do
    out="$E2E_OUT/c/$death"
    rm -rf "$out"
    mkdir -p "$out"
    port=$(free_port)
    engine_command "$port"
    extra=()
    [ "$death" != drain ] || extra=(--shutdown-timeout 20)
    status=0
    start "$out/run.log" "$E2E_PYTHON" -B "$E2E_SRC/deaths.py" "$death" --vobs "$vobs" --out "$out" --limit "$E2E_START_LIMIT" \
      -- "${ENGINE_COMMAND[@]}" "${extra[@]}"
    await "$limit" "$started" || status=$?
    cat "$out/run.log"
    if [ "$status" != 0 ]; then
      tail -n 30 "$out/vobs.log" >&2 || true
      say "FAIL: (c $death) did not happen as intended: $status" >&2
      failed=1
    else
      "$E2E_PYTHON" -B "$E2E_SRC/check_deaths.py" --event "$out/event.json" --facts "$out/facts.json" || failed=1
      "$vobs" validate --strict "$out/event.json" || failed=1
    fi
    stop_all
  done
  return "$failed"
}
