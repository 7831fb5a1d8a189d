# Sourced by the scripts in this folder: where things are, and how the engine is run.
# Everything is created under .e2e/ in the repository, which git ignores, or under
# E2E_DIR, an absolute path.
# shellcheck shell=bash disable=SC2034

E2E_SRC="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
E2E_ROOT="$(cd "$E2E_SRC/../.." && pwd)"
export E2E_DIR="${E2E_DIR:-$E2E_ROOT/.e2e}"
E2E_VLLM="$E2E_DIR/vllm"
E2E_VENV="$E2E_VLLM/venv"
E2E_PYTHON="$E2E_VENV/bin/python"
E2E_MODEL="$E2E_VLLM/model"
E2E_OUT="${E2E_OUT:-$E2E_DIR/out}"
E2E_MODEL_NAME=tiny

# Seconds an engine may take to answer /health: about one minute on two idle
# cores, several when they are shared.
E2E_START_LIMIT="${E2E_START_LIMIT:-600}"
# Seconds one load of requests may take.
E2E_LOAD_LIMIT="${E2E_LOAD_LIMIT:-300}"

# engine_env sets the engine's environment: no hub, no usage statistics, 1 GiB of KV
# cache, and caches outside the user's home.
engine_env() {
  export HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
  export VLLM_CACHE_ROOT="$E2E_VLLM/cache/vllm" VLLM_CONFIG_ROOT="$E2E_VLLM/cache/config"
  export HF_HOME="$E2E_VLLM/cache/hf" TORCHINDUCTOR_CACHE_DIR="$E2E_VLLM/cache/inductor"
  export PATH="$E2E_VENV/bin:$PATH"
  # These would change how the engine counts or where its metrics are.
  unset PROMETHEUS_MULTIPROC_DIR VLLM_PLUGINS PYTHONPATH PYTHONHOME
}

# engine_command PORT sets the array ENGINE_COMMAND.
engine_command() {
  ENGINE_COMMAND=("$E2E_VENV/bin/vllm" serve "$E2E_MODEL"
    --host 127.0.0.1 --port "$1" --served-model-name "$E2E_MODEL_NAME"
    --enforce-eager --load-format dummy --max-model-len 512)
}

# page PORT FILE saves the server's page.
page() {
  "$E2E_PYTHON" -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1], timeout=30).read())' \
    "http://127.0.0.1:$1/metrics" >"$2"
}
