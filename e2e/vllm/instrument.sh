# Sourced by run.sh: cases (g) and (h), what --instrument reports from inside the engine.
# shellcheck shell=bash disable=SC2154

check_instrument() { "$E2E_PYTHON" -B "$E2E_SRC/check_instrument.py" "$@"; }

# bracketed NAME [VOBS FLAG...] -- COMMAND... runs a command under vobs; the event and the
# log are NAME.json and NAME.log.
bracketed() {
  local name=$1 status=0
  shift
  start "$out/$name.log" "$vobs" run -q -o "$out/$name.json" "$@"
  await $((E2E_START_LIMIT + E2E_LOAD_LIMIT)) "$started" || status=$?
  [ "$status" = 0 ] || {
    tail -n 40 "$out/$name.log" >&2
    die "($case $name) vobs run ended with $status"
  }
}

# A script with LLM() and no mention of metrics: as it is, with its statistics switched on
# by itself, and as it is with --instrument.
case_g() {
  local out="$E2E_OUT/g" case=g failed=0
  rm -rf "$out"
  mkdir -p "$out"
  local script=("$E2E_PYTHON" "$E2E_SRC/offline.py" "$E2E_MODEL")
  bracketed plain -- "${script[@]}" '{"max_num_seqs": 16}'
  check_instrument plain --event "$out/plain.json" || failed=1
  bracketed own --multiproc on -- "${script[@]}" '{"max_num_seqs": 16, "disable_log_stats": false}'
  bracketed forced --instrument --multiproc on -- "${script[@]}" '{"max_num_seqs": 16}'
  check_instrument forced --event "$out/forced.json" --log "$out/forced.log" --own "$out/own.json" || failed=1
  local name
  for name in plain own forced; do "$vobs" validate --strict "$out/$name.json" || failed=1; done
  return "$failed"
}

# The settings of a server, a benchmark and a script equal their flags, and a setting that
# the engine overrides is reported: on a CPU async scheduling is switched off
# (vllm/platforms/cpu.py). VLLM_PLUGINS names a plugin that is not ours.
case_h() {
  local out="$E2E_OUT/h" case=h failed=0 port status=0 name
  rm -rf "$out"
  mkdir -p "$out"
  export VLLM_PLUGINS=other
  # On a CPU vLLM has no other type than these, and the first only with AVX-512.
  local kv=fp8_e5m2
  grep -qw -e avx512f -e amx_tile /proc/cpuinfo || kv=auto
  local flags=(--max-num-seqs 24 --max-num-batched-tokens 3072 --no-enable-chunked-prefill --no-enable-prefix-caching --kv-cache-dtype "$kv")

  port=$(free_port)
  engine_command "$port"
  start "$out/serve.log" "$vobs" run --instrument -o "$out/serve.json" -- "${ENGINE_COMMAND[@]}" "${flags[@]}" --async-scheduling
  local server=$started
  warm "$port" "$server" "$out/client" || {
    tail -n 40 "$out/serve.log" >&2
    die "(h serve) no warm server"
  }
  kill -TERM "$server"
  await 60 "$server" || status=$?
  [ "$status" = 0 ] || die "(h serve) vobs run ended with $status"
  check_instrument flags --kv-cache-dtype "$kv" --event "$out/serve.json" --mismatch 'async_scheduling: intended=True actual=False' || failed=1

  local ngram='{"method":"ngram","num_speculative_tokens":3,"prompt_lookup_max":3}'
  bracketed bench --instrument -- "$E2E_VENV/bin/vllm" bench throughput --model "$E2E_MODEL" --enforce-eager --load-format dummy --max-model-len 2048 \
    "${flags[@]}" --speculative-config "$ngram" --num-prompts 10
  check_instrument flags --kv-cache-dtype "$kv" --event "$out/bench.json" --method ngram || failed=1

  # Without a directory for metrics the settings are reported all the same.
  bracketed script --instrument --intend max_num_seqs=24 --intend max_num_batched_tokens=3072 --intend enable_chunked_prefill=false \
    --intend enable_prefix_caching=false --intend kv_cache_dtype="$kv" -- "$E2E_PYTHON" "$E2E_SRC/offline.py" "$E2E_MODEL" \
    "{\"max_num_seqs\": 24, \"max_num_batched_tokens\": 3072, \"enable_chunked_prefill\": false, \"enable_prefix_caching\": false, \"kv_cache_dtype\": \"$kv\", \"speculative_config\": $ngram}"
  check_instrument flags --kv-cache-dtype "$kv" --event "$out/script.json" --method ngram --no-engine || failed=1
  unset VLLM_PLUGINS
  for name in serve bench script; do "$vobs" validate --strict "$out/$name.json" || failed=1; done
  return "$failed"
}
