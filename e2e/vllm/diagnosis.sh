# Sourced by run.sh: case (i), the diagnosis of real engines whose KV cache is tiny, and whether
# the change that it recommends helps:
#
#     single    one request at a time: client
#     moderate  16 clients with short requests, which all fit: no finding to act on
#     capped    the same load on a server that runs 2 at a time: concurrency_cap
#     crowded   16 clients with requests that do not fit together: kv_cache
#     fitted    the same load on a server with the recommended --max-num-seqs: no preemptions
#
# The loads of crowded and fitted run twice each, in the order crowded, fitted, fitted,
# crowded, so that what else the machine does weighs on both. During capped and crowded,
# `vobs diagnose --metrics-url` reads the same server for LIVE_SECONDS. DIAGNOSES selects a part:
# "load" has the first three, "cache" the other two; the default is both.
# shellcheck shell=bash disable=SC2154

LIVE_SECONDS=${LIVE_SECONDS:-20}

# engine_cpu SESSION prints the CPU-seconds of its processes.
engine_cpu() { ps -s "$1" -o cputimes= | awk '{n += $1} END {print n + 0}'; }

# diagnosed PORT SERVER [--live] NAME CLIENT-ARGUMENT... runs the client under vobs, and with
# --live a diagnosis of the engine at the same time, once its requests are under way.
diagnosed() {
  local port=$1 server=$2 live= status=0 running live_status=0 before
  shift 2
  if [ "$1" = --live ]; then
    live=yes
    shift
  fi
  local name=$1
  shift
  before=$(engine_cpu "$server")
  start "$out/$name.log" "$vobs" run -q --metrics-url "http://127.0.0.1:$port" -o "$out/$name.json" -- \
    "$E2E_PYTHON" "$E2E_SRC/client.py" --url "http://127.0.0.1:$port" --model "$E2E_MODEL_NAME" --out "$out/$name.client.json" "$@"
  running=$started
  if [ -n "$live" ]; then
    until page "$port" "$out/$name.prom" && grep -q '^vllm:num_requests_running{.*} [1-9]' "$out/$name.prom"; do
      kill -0 "$running" 2>/dev/null || break
      sleep 0.5
    done
    start "$out/$name.live.log" "$vobs" diagnose --metrics-url "http://127.0.0.1:$port" --for "${LIVE_SECONDS}s" --format json -o "$out/$name.live.json"
    await $((LIVE_SECONDS + 120)) "$started" || live_status=$?
    cat "$out/$name.live.log"
    [ "$live_status" = 0 ] || die "(i $name) vobs diagnose ended with $live_status"
  fi
  await "$E2E_LOAD_LIMIT" "$running" || status=$?
  cat "$out/$name.log"
  [ "$status" = 0 ] || die "(i $name) vobs run ended with $status"
  echo $(($(engine_cpu "$server") - before)) >"$out/$name.cpu"
  validate "$out/$name.json" "i $name"
}

check_diagnosis() { "$E2E_PYTHON" -B "$E2E_SRC/check_diagnosis.py" "$1" "$out"; }

case_i() {
  local out="$E2E_OUT/i" failed=0 name seqs
  rm -rf "$out"
  mkdir -p "$out"
  # 23 blocks of 128 tokens can be used.
  local tiny=(--num-gpu-blocks-override 24 --max-num-batched-tokens 2048)
  # The tiny model's tokens cost nothing beside the rest of a step, so that preemptions are free.
  # Those of this one (14 M parameters) cost something, as they do on a GPU.
  local larger=(--hf-overrides '{"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64}')

  # serve_i NAME FLAG... starts a server; ready_i NAME waits for it.
  serve_i() {
    ports[$1]=$(free_port)
    engine_command "${ports[$1]}"
    start "$out/server.$1.log" "${ENGINE_COMMAND[@]}" "${tiny[@]}" "${@:2}"
    servers[$1]=$started
  }
  ready_i() {
    warm "${ports[$1]}" "${servers[$1]}" "$out/warmup.$1" || {
      tail -n 40 "$out/server.$1.log" "$out/warmup.$1.log" >&2
      die "(i) no warm server"
    }
  }
  local -A ports=() servers=()
  # on SERVER [--live] NAME CLIENT-ARGUMENT...
  on() { diagnosed "${ports[$1]}" "${servers[$1]}" "${@:2}"; }

  local parts=" ${DIAGNOSES:-load cache} "
  if [[ $parts == *" load "* ]]; then
    serve_i roomy --max-num-seqs 64
    serve_i capped --max-num-seqs 2
  fi
  if [[ $parts == *" cache "* ]]; then
    serve_i crowded --max-num-seqs 64 "${larger[@]}"
  fi
  for name in "${!servers[@]}"; do ready_i "$name"; done

  if [[ $parts == *" load "* ]]; then
    # Each request has one block.
    local short=(--requests 160 --concurrency 16 --prompt-tokens 88 --max-tokens 32)
    on roomy single "${short[@]}" --requests 24 --concurrency 1 --seed 41
    check_diagnosis single || failed=1
    on roomy moderate "${short[@]}" --seed 42
    check_diagnosis moderate || failed=1
    on capped --live capped "${short[@]}" --seed 42
    check_diagnosis capped || failed=1
  fi
  if [[ $parts == *" cache "* ]]; then
    # Each request has four blocks at its end. They are greedy: where a seeded request's prompt
    # is computed in chunks, vLLM 0.32.0 fails on a CPU ("CPU Generator does not use offset").
    local long=(--requests 48 --concurrency 16 --prompt-tokens 300 --max-tokens 190 --spread 0.2 --temperature 0)
    on crowded --live crowded "${long[@]}" --seed 43
    check_diagnosis crowded || failed=1
    seqs=$(check_diagnosis recommended) || die "(i) the diagnosis recommends no --max-num-seqs"
    say "(i) the recommended --max-num-seqs is $seqs"
    serve_i fitted --max-num-seqs "$seqs" "${larger[@]}"
    ready_i fitted
    on fitted fitted "${long[@]}" --seed 43
    on fitted fitted2 "${long[@]}" --seed 44
    on crowded crowded2 "${long[@]}" --seed 44
    check_diagnosis fitted || failed=1
  fi
  return "$failed"
}
