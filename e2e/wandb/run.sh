#!/usr/bin/env bash
# Compares vobs's client of Weights & Biases with the real SDK, against the server of
# internal/wandb/wandbtest:
#
#   (a) `wandb sync` uploads from our offline run what our online client sends;
#   (b) we resume a run of the SDK, and the SDK resumes it after us: nothing of either
#       is lost;
#   (c) `wandb sync` prints no warning.
#
# If the SDK cannot be fetched, it prints "e2e-wandb: SKIPPED" and exits with status 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

code=0
e2e/wandb/setup.sh || code=$?
case $code in
0) ;;
77)
  echo "e2e-wandb: SKIPPED: the SDK cannot be fetched (see above)" >&2
  exit 0
  ;;
*) exit "$code" ;;
esac
VOBS_E2E_WANDB=${E2E_DIR:-$PWD/.e2e}/wandb/venv go test -count=1 -tags urfave_cli_no_docs "$@" ./e2e/wandb
echo "e2e-wandb: PASS with wandb $("${E2E_DIR:-$PWD/.e2e}/wandb/venv/bin/python" -c 'import wandb; print(wandb.__version__)')"
