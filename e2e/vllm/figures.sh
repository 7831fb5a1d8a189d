# Sourced by run.sh: case (k), the figures that are polled or estimated, each compared with
# an independent reading of the engine's multiprocess files, with the difference of its own
# pages and with what the client counted. One engine serves most of them. FIGURES selects
# some; the default is all:
#
#     short      a load of a few tenths of a second
#     saturated  three times as many requests as the engine runs at once
#     files      the same, read from the files instead of over HTTP
#     preempted  answers that do not fit into the KV cache together
#     aborted    some requests are aborted, and some are refused
#     shared     another client's requests are under way when the command starts
#     warm       the prompts of the last load again: the prefix cache has them
#     bench      `vllm bench serve`
#     turn       the server is replaced by another one, with a larger cache, at its address
#     servers    a server with two API servers
# shellcheck shell=bash disable=SC2154

# A block of the KV cache holds 128 tokens on a CPU, and one block is never used.
small=(--num-gpu-blocks-override 24 --max-num-seqs 16)
large=(--num-gpu-blocks-override 48 --max-num-seqs 24)
# One block for each request.
one_block=(--prompt-tokens 88 --max-tokens 32)

# serve NAME PORT FLAG... starts an engine whose metrics are in files in $out/NAME.metrics,
# and waits for it; with several API servers, vLLM makes the directory itself.
serve() {
  local name=$1 port=$2
  shift 2
  engine_command "$port"
  if [[ " $* " == *" --api-server-count "* ]]; then
    start "$out/$name.log" "${ENGINE_COMMAND[@]}" "$@"
  else
    mkdir "$out/$name.metrics"
    start "$out/$name.log" env PROMETHEUS_MULTIPROC_DIR="$out/$name.metrics" "${ENGINE_COMMAND[@]}" "$@"
  fi
  server=$started
  warm "$port" "$server" "$out/$name.warmup" || {
    tail -n 40 "$out/$name.log" "$out/$name.warmup.log" >&2
    die "(k) no warm server"
  }
}

# watch OUT.json ARGUMENT... starts watch_files.py, and waits until it reads.
watch() {
  start "$1.log" "$E2E_PYTHON" -B "$E2E_SRC/watch_files.py" "${@:2}" "$1"
  watchers+=("$started")
  until grep -q '^watching' "$1.log"; do
    kill -0 "$started" 2>/dev/null || die "(k) watch_files.py: $(tail -n 1 "$1.log")"
    sleep 0.1
  done
}
end_watch() {
  local watcher
  for watcher in "${watchers[@]}"; do kill -TERM "$watcher"; done
  for watcher in "${watchers[@]}"; do await 30 "$watcher" || die "(k) watch_files.py ended with $?"; done
  watchers=()
}

# figure NAME [VOBS FLAG...] -- COMMAND... runs a command under vobs beside a watcher, with
# the server's page before and after; then compares. vobs reads the files where the user
# names their directory.
figure() {
  local name=$1 status=0
  shift
  page "$port" "$out/$name.before.prom"
  [ ${#watchers[@]} -gt 0 ] || watch "$out/$name.watch.json" "${watched[@]}"
  [ "$name" != files ] || export PROMETHEUS_MULTIPROC_DIR="${watched[0]}"
  start "$out/$name.vobs.log" "$vobs" run -q -o "$out/$name.json" "$@"
  unset PROMETHEUS_MULTIPROC_DIR
  await $((E2E_START_LIMIT + E2E_LOAD_LIMIT)) "$started" || status=$?
  end_watch
  [ "$status" = 0 ] || {
    tail -n 40 "$out/$name.vobs.log" >&2
    die "(k $name) vobs run ended with $status"
  }
  local pages=(--pages "$out/$name.before.prom" "$out/$name.after.prom" --watch "$out/$name.watch.json")
  if [ "$name" = turn ]; then # the command has saved them
    pages+=(--pages /dev/null "$out/turn.second.prom" --watch "$out/turn.second.watch.json" --client "$out/turn.second.client.json")
  else
    page "$port" "$out/$name.after.prom"
  fi
  "$E2E_PYTHON" -B "$E2E_SRC/check_figures.py" "$name" --event "$out/$name.json" --client "$out/$name.client.json" "${pages[@]}" || failed=1
  "$vobs" validate --strict "$out/$name.json" || failed=1
}

# client NAME ARGUMENT... sets the array CLIENT.
client() {
  CLIENT=("$E2E_PYTHON" "$E2E_SRC/client.py" --url "http://127.0.0.1:$port" --model "$E2E_MODEL_NAME" --out "$out/$1.client.json" "${@:2}")
}

case_k() {
  local out="$E2E_OUT/k" failed=0 port server watched name watchers=()
  rm -rf "$out"
  mkdir -p "$out"
  local figures=" ${FIGURES:-short saturated files preempted aborted shared warm bench turn servers} "
  port=$(free_port)
  local given=(--metrics-url "http://127.0.0.1:$port")
  [ "$figures" = " servers " ] || serve small "$port" "${small[@]}"
  watched=("$out/small.metrics")
  for name in $figures; do
    case $name in
    short) client short --requests 12 --concurrency 12 --prompt-tokens 88 --max-tokens 6 --seed 31 ;;
    saturated | files) client "$name" --requests 192 --concurrency 48 "${one_block[@]}" --seed 33 ;;
    preempted) client preempted --requests 32 --concurrency 24 --prompt-tokens 110 --max-tokens 380 --spread 0.2 --seed 34 ;;
    aborted) client aborted --requests 96 --concurrency 12 "${one_block[@]}" --abort 8 --refuse 5 --seed 35 ;;
    shared) client shared --requests 96 --concurrency 12 "${one_block[@]}" --seed 36 ;;
    warm) client warm --requests 48 --concurrency 4 --prompt-tokens 320 --shared-prefix 256 --max-tokens 32 --seed 37 ;;
    bench)
      client bench # for its file
      CLIENT=("$E2E_VENV/bin/vllm" bench serve --backend openai --base-url "http://127.0.0.1:$port" --model "$E2E_MODEL_NAME" --tokenizer "$E2E_MODEL"
        --dataset-name random --random-input-len 80 --random-output-len 32 --num-prompts 160 --max-concurrency 32 --ignore-eos
        --ready-check-timeout-sec 0 --percentile-metrics "ttft,e2el" --save-result --result-dir "$out" --result-filename bench.client.json)
      ;;
    esac
    case $name in
    files) figure files -- "${CLIENT[@]}" ;;
    shared)
      # The command starts once the other client's requests are under way.
      local mine=("${CLIENT[@]}")
      client other --requests 400 --concurrency 4 "${one_block[@]}" --seed 38
      start "$out/other.log" "${CLIENT[@]}"
      local other=$started
      until page "$port" "$out/other.prom" && grep -q '^vllm:num_requests_running{.*} [1-9]' "$out/other.prom"; do sleep 0.1; done
      figure shared "${given[@]}" -- "${mine[@]}"
      await "$E2E_LOAD_LIMIT" "$other" || die "(k shared) the other client ended with $?"
      ;;
    warm)
      start "$out/cold.log" "${CLIENT[@]}"
      await "$E2E_LOAD_LIMIT" "$started" || die "(k warm) the client ended with $?"
      figure warm "${given[@]}" -- "${CLIENT[@]}"
      ;;
    turn)
      mkdir "$out/second.metrics"
      watch "$out/turn.watch.json" "$out/small.metrics"
      watch "$out/turn.second.watch.json" "$out/second.metrics"
      figure turn --multiproc off "${given[@]}" -- "$E2E_SRC/two_in_turn.sh" "$port" "$server" "$out" "${one_block[*]}" "${large[@]}"
      ;;
    servers)
      stop_all
      serve servers "$port" "${small[@]}" --api-server-count 2
      watched=(--server "$server")
      client servers --requests 192 --concurrency 48 "${one_block[@]}" --seed 39
      figure servers "${given[@]}" -- "${CLIENT[@]}"
      ;;
    short | saturated | preempted | aborted | bench) figure "$name" "${given[@]}" -- "${CLIENT[@]}" ;;
    *) die "unknown figure: $name" ;;
    esac
  done
  return "$failed"
}
