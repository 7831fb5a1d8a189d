#!/usr/bin/env bash
# Tests vobs with a real vLLM (CPU build, tiny random model) and nothing simulated:
#
#   (a) a server runs, `vobs run --metrics-url` brackets a client;
#   (b) `vobs run` brackets a script that starts and stops the server, without its
#       address;
#   (c) `vobs run -- vllm serve`, ended and killed in several ways (deaths.sh);
#   (d) two servers run, one of them without prefix caching, and `vobs run` with
#       both addresses brackets two clients at once;
#   (e) as (a), with speculative decoding (ngram);
#   (f) `vobs run -- vllm bench throughput`, which opens no port;
#   (g) a script with LLM() that leaves its statistics off, with and without
#       --instrument (instrument.sh);
#   (h) --instrument with a server, a benchmark and a script: the settings;
#   (i) what the diagnosis says of a full KV cache, of a cap and of little load, and
#       whether its change helps (diagnosis.sh);
#   (k) loads of many kinds on few servers: every polled or estimated figure
#       compared with the engine's multiprocess files (figures.sh);
#   (l) `vobs load --observe`: the client's counts and latencies beside the engine's
#       (load.sh);
#   (n) as (b), with --api-server-count 2;
#   (v) what makes a run doubtful: a warm prefix cache, a busy host (validity.sh);
#   (x) `vobs ab` on two equal servers, and on two that differ (ab.sh).
#
# In all but (c) the event's figures must equal what the clients counted, and in
# (d), (e), (k) and (l) the difference of the servers' own pages before and after.
# Needs bin/vobs (another one: VOBS=path). Writes .e2e/out. If vLLM's packages cannot
# be fetched, it prints "e2e-vllm: SKIPPED" and exits with status 0.
#
#     run.sh [a] [b] [c] [d] [e] [f] [g] [h] [i] [k] [l] [n] [v] [x]    all by default
set -euo pipefail

# shellcheck source=e2e/vllm/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=e2e/vllm/deaths.sh
source "$E2E_SRC/deaths.sh"
# shellcheck source=e2e/vllm/instrument.sh
source "$E2E_SRC/instrument.sh"
# shellcheck source=e2e/vllm/diagnosis.sh
source "$E2E_SRC/diagnosis.sh"
# shellcheck source=e2e/vllm/figures.sh
source "$E2E_SRC/figures.sh"
# shellcheck source=e2e/vllm/load.sh
source "$E2E_SRC/load.sh"
# shellcheck source=e2e/vllm/validity.sh
source "$E2E_SRC/validity.sh"
# shellcheck source=e2e/vllm/ab.sh
source "$E2E_SRC/ab.sh"

vobs=${VOBS:-$E2E_ROOT/bin/vobs}
load=(--requests 192 --concurrency 16 --prompt-tokens 320 --shared-prefix 256 --max-tokens 96)

say() { echo "e2e-vllm: $*"; }
die() {
  say "FAIL: $*" >&2
  exit 1
}

# Every process that is started here leads a session of its own, so that its descendants
# can be found even after they have been reparented.
sessions=()
start() { # start LOG COMMAND...: sets $started
  local log=$1
  shift
  setsid "$@" >"$log" 2>&1 </dev/null &
  started=$!
  sessions+=("$started")
}
stop_all() {
  local session pid waited
  for session in "${sessions[@]}"; do
    kill -TERM -- "-$session" 2>/dev/null || true
  done
  for session in "${sessions[@]}"; do
    for ((waited = 0; waited < 100; waited++)); do
      alive "$session" || break
      sleep 0.1
    done
    for pid in "-$session" $(members "$session"); do kill -KILL -- "$pid" 2>/dev/null || true; done
  done
  sessions=()
}
# members SESSION prints its processes that still run (zombies do not).
members() { ps -s "$1" -o pid=,stat= 2>/dev/null | awk '$2 !~ /^Z/ {print $1}'; }
alive() { [ -n "$(members "$1")" ]; }
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# await LIMIT PID waits for a started process and returns its exit status; 124 if it
# took longer. It waits in short steps, because bash runs no trap during a foreground
# command.
await() {
  local limit=$1 pid=$2 status=0 end=$((SECONDS + $1))
  while kill -0 "$pid" 2>/dev/null; do
    if ((SECONDS >= end)); then
      say "still running after $limit s" >&2
      return 124
    fi
    sleep 0.2
  done
  wait "$pid" || status=$?
  return "$status"
}

free_port() {
  "$E2E_PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

check() { "$E2E_PYTHON" "$E2E_SRC/check.py" "$@"; }

# vobs itself must find the event valid too.
validate() {
  "$vobs" validate "$1" || die "($2) vobs validate $1: $?"
}

case_a() {
  local out="$E2E_OUT/a" port status=0
  rm -rf "$out"
  mkdir -p "$out"
  port=$(free_port)
  engine_command "$port"
  # check.py compares the settings that the server reports with these flags.
  start "$out/server.log" env VLLM_SERVER_DEV_MODE=1 "${ENGINE_COMMAND[@]}" --max-num-seqs 24 --max-num-batched-tokens 1024
  local client=("$E2E_PYTHON" "$E2E_SRC/client.py" --url "http://127.0.0.1:$port" --model "$E2E_MODEL_NAME")
  # Warm-up: other prompts than those of the load, and counts that the baseline
  # reading must subtract.
  start "$out/warmup.log" "${client[@]}" --wait "$E2E_START_LIMIT" --wait-pid "$started" \
    --requests 6 --concurrency 3 --max-tokens 16 --seed 11 --out "$out/warmup.json"
  await $((E2E_START_LIMIT + 60)) "$started" || {
    tail -n 40 "$out/server.log" "$out/warmup.log" >&2
    die "(a) no warm server"
  }

  start "$out/vobs.log" "$vobs" run -q --metrics-url "http://127.0.0.1:$port/metrics" -o "$out/event_a.json" -- \
    "${client[@]}" "${load[@]}" --out "$out/load.json"
  await "$E2E_LOAD_LIMIT" "$started" || status=$?
  cat "$out/vobs.log"
  [ "$status" = 0 ] || die "(a) vobs run ended with $status"
  check a --event "$out/event_a.json" --client "$out/load.json" --port "$port" || return 1
  validate "$out/event_a.json" a
}

# warm PORT SERVER OUT waits for a server and sends it a few requests, so that the
# baseline reading has something to subtract.
warm() {
  local port=$1 server=$2 out=$3
  start "$out.log" "$E2E_PYTHON" "$E2E_SRC/client.py" --url "http://127.0.0.1:$port" --model "$E2E_MODEL_NAME" \
    --wait "$E2E_START_LIMIT" --wait-pid "$server" --requests 6 --concurrency 3 --max-tokens 16 --seed 11 --out "$out.json"
  await $((E2E_START_LIMIT + 60)) "$started"
}

case_d() {
  local out="$E2E_OUT/d" ports servers=() i status=0
  rm -rf "$out"
  mkdir -p "$out"
  ports=("$(free_port)" "$(free_port)")
  # One core each: two engines whose threads spin on all cores starve their own API
  # servers, which then do not answer polls in time.
  engine_command "${ports[0]}"
  start "$out/server0.log" env VLLM_CPU_OMP_THREADS_BIND=0 "${ENGINE_COMMAND[@]}" --max-num-seqs 12
  servers+=("$started")
  engine_command "${ports[1]}"
  start "$out/server1.log" env VLLM_CPU_OMP_THREADS_BIND=1 "${ENGINE_COMMAND[@]}" --max-num-seqs 8 --no-enable-prefix-caching
  servers+=("$started")
  for i in 0 1; do
    warm "${ports[i]}" "${servers[i]}" "$out/warmup$i" || {
      tail -n 40 "$out/server$i.log" "$out/warmup$i.log" >&2
      die "(d) no warm server"
    }
  done
  for i in 0 1; do page "${ports[i]}" "$out/before$i.prom"; done
  start "$out/vobs.log" "$vobs" run -q --metrics-url "http://127.0.0.1:${ports[0]}" --metrics-url "http://127.0.0.1:${ports[1]}" \
    -o "$out/event_d.json" -- "$E2E_SRC/two_loads.sh" "${ports[@]}" "$out" "${load[@]}"
  await "$E2E_LOAD_LIMIT" "$started" || status=$?
  cat "$out/vobs.log"
  [ "$status" = 0 ] || die "(d) vobs run ended with $status"
  for i in 0 1; do page "${ports[i]}" "$out/after$i.prom"; done
  check d --event "$out/event_d.json" --client "$out/load0.json" --client "$out/load1.json" \
    --pages "$out/before0.prom" "$out/after0.prom" --pages "$out/before1.prom" "$out/after1.prom" || return 1
  validate "$out/event_d.json" d
}

case_e() {
  local out="$E2E_OUT/e" port status=0
  rm -rf "$out"
  mkdir -p "$out"
  port=$(free_port)
  engine_command "$port"
  start "$out/server.log" env VLLM_SERVER_DEV_MODE=1 "${ENGINE_COMMAND[@]}" --speculative-config '{"method":"ngram","num_speculative_tokens":3,"prompt_lookup_max":3}'
  warm "$port" "$started" "$out/warmup" || {
    tail -n 40 "$out/server.log" "$out/warmup.log" >&2
    die "(e) no warm server"
  }
  page "$port" "$out/before.prom"
  # At temperature 0 the small model repeats itself, and drafts are accepted.
  start "$out/vobs.log" "$vobs" run -q --metrics-url "http://127.0.0.1:$port" -o "$out/event_e.json" -- \
    "$E2E_PYTHON" "$E2E_SRC/client.py" --url "http://127.0.0.1:$port" --model "$E2E_MODEL_NAME" \
    "${load[@]}" --temperature 0 --out "$out/load.json"
  await "$E2E_LOAD_LIMIT" "$started" || status=$?
  cat "$out/vobs.log"
  [ "$status" = 0 ] || die "(e) vobs run ended with $status"
  page "$port" "$out/after.prom"
  check e --event "$out/event_e.json" --client "$out/load.json" --pages "$out/before.prom" "$out/after.prom" --port "$port" || return 1
  validate "$out/event_e.json" e
}

# case_b [NAME [FLAG OF THE ENGINE...]]
case_b() {
  local name=${1:-b} port status=0
  local out="$E2E_OUT/$name"
  rm -rf "$out"
  mkdir -p "$out"
  port=$(free_port)
  start "$out/vobs.log" env E2E_ENGINE_FLAGS="${*:2}" "$vobs" run --dev-mode -o "$out/event_$name.json" -- \
    "$E2E_SRC/serve_and_bench.sh" "$port" "$out" "${load[@]}"
  await $((E2E_START_LIMIT + E2E_LOAD_LIMIT)) "$started" || status=$?
  cat "$out/vobs.log"
  [ "$status" = 0 ] || {
    tail -n 40 "$out/server.log" >&2 || true
    die "($name) vobs run ended with $status"
  }
  check "$name" --event "$out/event_$name.json" --client "$out/load.json" --client "$out/warmup.json" --port "$port" || return 1
  validate "$out/event_$name.json" "$name"
}

case_n() { case_b n --api-server-count 2; }

# 40 blocks of KV cache, so that it fills and requests wait.
case_f() {
  local out="$E2E_OUT/f" status=0
  rm -rf "$out"
  mkdir -p "$out"
  start "$out/bench.log" "$vobs" run -q -o "$out/event_f.json" -- "$E2E_VENV/bin/vllm" bench throughput --model "$E2E_MODEL" \
    --enforce-eager --load-format dummy --max-model-len 2048 --num-gpu-blocks-override 40 \
    --input-len 200 --output-len 100 --num-prompts 100
  await $((E2E_START_LIMIT + E2E_LOAD_LIMIT)) "$started" || status=$?
  [ "$status" = 0 ] || {
    tail -n 40 "$out/bench.log" >&2
    die "(f) vobs run ended with $status"
  }
  "$E2E_PYTHON" -B "$E2E_SRC/check_offline.py" --event "$out/event_f.json" --log "$out/bench.log" || return 1
  validate "$out/event_f.json" f
}

main() {
  local status=0 case failed=0 began
  [ -x "$vobs" ] || die "no vobs at $vobs: build it first (make build), or name it in VOBS"
  "$E2E_SRC/setup.sh" || status=$?
  if [ "$status" = 77 ]; then
    say "SKIPPED: vLLM's packages cannot be fetched here (see the reason above)"
    exit 0
  fi
  [ "$status" = 0 ] || die "setup.sh ended with $status"
  engine_env
  # Settings of vobs in the user's environment.
  unset "${!VOBS_@}"
  [ $# -gt 0 ] || set -- a b c d e f g h i k l n v x
  for case in "$@"; do
    began=$SECONDS
    say "($case) begins; an engine takes one to three minutes to start"
    case $case in
    a | b | c | d | e | f | g | h | i | k | l | n | v | x) "case_$case" || failed=1 ;;
    *) die "unknown case: $case" ;;
    esac
    stop_all
    say "($case) took $((SECONDS - began)) s; its files: ${E2E_OUT#"$E2E_ROOT"/}/$case"
  done
  [ "$failed" = 0 ] || die "an event differs from what happened"
}

main "$@"
