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
work=$PWD/.e2e/prometheus

skip() {
	echo "e2e-prometheus: SKIPPED: $1" >&2
	exit 0
}

fetch() {
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || skip "apt-get and dpkg are needed: this test unpacks a Debian package"
	local apt=$work/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	# Separate lists: the machine's own apt is left as it is.
	local suite
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
	[ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || skip "the Debian keyring is missing (package debian-archive-keyring)"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" >"$apt/sources.list"
	local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/nonexistent -o "Dir::State::lists=$apt/lists"
		-o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root -o Acquire::Retries=2 -q)
	apt-get "${options[@]}" update >"$work/apt.log" 2>&1 || skip "Debian's package lists cannot be fetched (see .e2e/prometheus/apt.log)"
	(cd "$work" && apt-get "${options[@]}" download prometheus >>apt.log 2>&1) || skip "Debian's prometheus cannot be fetched (see .e2e/prometheus/apt.log)"
	dpkg -x "$work"/prometheus_*.deb "$work/root"
	rm -rf "$apt" "$work"/prometheus_*.deb
}

mkdir -p "$work"
prometheus=$work/root/usr/bin/prometheus
[ -x "$prometheus" ] || fetch
[ -x "$prometheus" ] || { echo "e2e-prometheus: FAIL: the package has no prometheus" >&2; exit 1; }
VOBS=${VOBS:-$PWD/bin/vobs} VOBS_E2E_PROMETHEUS=$prometheus go test -count=1 -timeout 15m -tags urfave_cli_no_docs "$@" ./e2e/prometheus
echo "e2e-prometheus: PASS with $("$prometheus" --version 2>&1 | head -n 1)"
