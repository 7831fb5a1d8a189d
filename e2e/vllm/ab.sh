# Sourced by run.sh: case (x), `vobs ab` on real servers: `vllm bench serve` against two equal
# servers is no regression, and one that runs 2 requests at a time is slower than one that
# runs 64. The servers stay up during all runs. AB selects; the default is both: "same slower".
#
# shellcheck shell=bash disable=SC2154

# ab NAME PROMPTS BASE NEW runs eight pairs, each run with that many prompts, and prints the
# verdict. There are enough of them for polls to resolve the active time.
ab() {
  local name=$1 prompts=$2 status=0
  bench_command() {
    BENCH=("$E2E_VENV/bin/vllm" bench serve --backend openai --base-url "http://127.0.0.1:$1" --model "$E2E_MODEL_NAME" --tokenizer "$E2E_MODEL"
      --dataset-name random --random-input-len 64 --random-output-len 48 --num-prompts "$prompts" --max-concurrency 16 --ignore-eos --ready-check-timeout-sec 0)
  }
  bench_command "$3"
  local base=("${BENCH[@]}")
  bench_command "$4"
  start "$out/$name.log" "$vobs" ab -n 8 --warmup 1 --append "$out/$name.jsonl" --format json -o "$out/$name.json" \
    --metric generation_tokens_per_second -- "${base[@]}" --- "${BENCH[@]}"
  await $((20 * E2E_LOAD_LIMIT)) "$started" || status=$?
  case $status in
  0 | 1 | 3) ;;
  *)
    tail -n 40 "$out/$name.log" >&2
    die "(x $name) vobs ab ended with $status"
    ;;
  esac
  "$E2E_PYTHON" -c 'import json, sys; r = json.load(open(sys.argv[1])); print(r["verdict"], r["reasons"])' "$out/$name.json"
  validate "$out/$name.jsonl" "x $name"
  "$E2E_PYTHON" -B "$E2E_SRC/check_ab.py" "$name" "$out/$name.json" "$out/$name.jsonl" "$status"
}

case_x() {
  local out="$E2E_OUT/x" failed=0 ports=() name port seqs
  rm -rf "$out"
  mkdir -p "$out"
  local selected=" ${AB:-same slower} " servers=(64)
  [[ $selected != *" same "* ]] || servers+=(64)
  [[ $selected != *" slower "* ]] || servers+=(2)
  for seqs in "${servers[@]}"; do
    port=$(free_port)
    ports+=("$port")
    engine_command "$port"
    start "$out/server${#ports[@]}.log" "${ENGINE_COMMAND[@]}" --max-num-seqs "$seqs"
    warm "$port" "$started" "$out/warmup${#ports[@]}" || {
      tail -n 40 "$out/server${#ports[@]}.log" >&2
      die "(x) no warm server"
    }
  done
  for name in $selected; do
    case $name in
    same) ab same 192 "${ports[0]}" "${ports[1]}" || failed=1 ;;
    slower) ab slower 96 "${ports[0]}" "${ports[-1]}" || failed=1 ;;
    *) die "unknown comparison: $name" ;;
    esac
  done
  return "$failed"
}
