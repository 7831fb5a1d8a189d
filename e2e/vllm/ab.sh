# Sourced by run.sh: case (x), `vobs ab` on real servers: `vllm bench serve` against two equal
# servers is no regression, and one that runs 2 requests at a time is slower than one that
# runs 64. The servers stay up during all runs.
#
# shellcheck shell=bash disable=SC2154

# ab NAME BASE NEW runs eight pairs and prints the verdict.
ab() {
  local name=$1 status=0
  bench_command() {
    BENCH=("$E2E_VENV/bin/vllm" bench serve --backend openai --base-url "http://127.0.0.1:$1" --model "$E2E_MODEL_NAME" --tokenizer "$E2E_MODEL"
      --dataset-name random --random-input-len 64 --random-output-len 48 --num-prompts 64 --max-concurrency 16 --ignore-eos --ready-check-timeout-sec 0)
  }
  bench_command "$2"
  local base=("${BENCH[@]}")
  bench_command "$3"
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
  local out="$E2E_OUT/x" failed=0 ports servers=() i
  rm -rf "$out"
  mkdir -p "$out"
  ports=("$(free_port)" "$(free_port)" "$(free_port)")
  local flags=("--max-num-seqs 64" "--max-num-seqs 64" "--max-num-seqs 2")
  for i in 0 1 2; do
    engine_command "${ports[i]}"
    # shellcheck disable=SC2086
    start "$out/server$i.log" "${ENGINE_COMMAND[@]}" ${flags[i]}
    servers+=("$started")
    warm "${ports[i]}" "${servers[i]}" "$out/warmup$i" || {
      tail -n 40 "$out/server$i.log" >&2
      die "(x) no warm server"
    }
  done
  ab same "${ports[0]}" "${ports[1]}" || failed=1
  ab slower "${ports[0]}" "${ports[2]}" || failed=1
  return "$failed"
}
