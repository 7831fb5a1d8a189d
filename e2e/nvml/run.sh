#!/usr/bin/env bash
# Tests vobs with the real libnvidia-ml.so.1 and no driver behind it. Fetches Debian's
# package (component non-free), unpacks it into .e2e/nvml without installing anything, and
# checks that vobs runs the command as usual and reports what is missing. If the package
# cannot be fetched, it prints "e2e-nvml: SKIPPED" and exits with status 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
vobs=${VOBS:-$PWD/bin/vobs}
work=$PWD/.e2e/nvml

skip() {
	echo "e2e-nvml: SKIPPED: $1" >&2
	exit 0
}

fetch() {
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || skip "apt-get and dpkg are needed: this test unpacks a Debian package"
	[ "$(dpkg --print-architecture)" = amd64 ] || skip "this test is for amd64 only"
	local apt=$work/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	# Separate lists: the machine's own apt is left as it is.
	local suite
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
	[ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || skip "the Debian keyring is missing (package debian-archive-keyring)"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite non-free" >"$apt/sources.list"
	local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/nonexistent -o "Dir::State::lists=$apt/lists"
		-o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root -o Acquire::Retries=2 -q)
	apt-get "${options[@]}" update >"$work/apt.log" 2>&1 || skip "Debian's package lists cannot be fetched (see .e2e/nvml/apt.log)"
	(cd "$work" && apt-get "${options[@]}" download libnvidia-ml1 >>apt.log 2>&1) || skip "Debian's libnvidia-ml1 cannot be fetched (see .e2e/nvml/apt.log)"
	dpkg -x "$work"/libnvidia-ml1_*.deb "$work/root"
}

mkdir -p "$work"
find_library() { find "$work/root" -name libnvidia-ml.so.1 -print -quit 2>/dev/null || true; }
library=$(find_library)
if [ -z "$library" ]; then
	fetch
	library=$(find_library)
fi
[ -n "$library" ] || { echo "e2e-nvml: FAIL: the package has no libnvidia-ml.so.1" >&2; exit 1; }
[ ! -e /proc/driver/nvidia/version ] || skip "this machine has an NVIDIA driver, so the library cannot be tested without one"

event=$work/event.json
code=0
LD_LIBRARY_PATH=$(dirname "$library") "$vobs" run -q -o "$event" -- sh -c 'sleep 1; exit 7' || code=$?
[ "$code" = 7 ] || { echo "e2e-nvml: FAIL: exit code $code, want the command's 7" >&2; exit 1; }
"$vobs" validate "$event"
grep -q '"gpus":null' "$event" || { echo "e2e-nvml: FAIL: gpus is not null without a driver" >&2; exit 1; }
reason=$(grep -o '{"field":"gpus","reason":"[^"]*"}' "$event") || { echo "e2e-nvml: FAIL: no reason for gpus" >&2; exit 1; }
case $reason in
*river*) ;;
*) echo "e2e-nvml: FAIL: the reason does not name the driver: $reason" >&2; exit 1 ;;
esac
echo "e2e-nvml: PASS with $(basename "$(readlink -f "$library")"): $reason"
