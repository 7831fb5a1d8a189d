#!/usr/bin/env bash
# Compares what vobs diagnose finds in a real Prometheus server's past with what it finds on
# live engines in the same minutes, and the counters with those that Prometheus scraped.
# Fetches Debian's package prometheus and unpacks it into .e2e/prometheus without installing
# anything. The engines are simulated. Takes about two and a half minutes.
#
# VOBS_E2E_SECONDS is how long the engines are read (120). If the package cannot be fetched, it
# prints "e2e-prometheus: SKIPPED" and exits with status 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=e2e/debian.sh
. e2e/debian.sh
work=$PWD/.e2e/prometheus

skip() {
	echo "e2e-prometheus: SKIPPED: $1" >&2
	exit 0
}

mkdir -p "$work"
prometheus=$work/root/usr/bin/prometheus
[ -x "$prometheus" ] || unpack_debian "$work" "$work/root" main prometheus || skip "$debian_problem"
[ -x "$prometheus" ] || { echo "e2e-prometheus: FAIL: the package has no prometheus" >&2; exit 1; }
VOBS=${VOBS:-$PWD/bin/vobs} VOBS_E2E_PROMETHEUS=$prometheus go test -count=1 -timeout 15m -tags urfave_cli_no_docs "$@" ./e2e/prometheus
echo "e2e-prometheus: PASS with $("$prometheus" --version 2>&1 | head -n 1)"
