#!/usr/bin/env bash
# The real libnvidia-ml.so.1 without a driver behind it: fetches Debian's package
# (component non-free), unpacks it into .e2e/nvml without installing anything, and
# shows that vobs then runs the command as ever and says what is missing.
# Skips loudly where the package cannot be fetched.
set -euo pipefail
cd "$(dirname "$0")/../.."
vobs=${VOBS:-$PWD/bin/vobs}
work=$PWD/.e2e/nvml

skip() {
	echo "e2e-nvml: SKIPPED: $1" >&2
	exit 0
}

fetch() {
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || skip "no apt-get and dpkg here: this test unpacks a Debian package"
	[ "$(dpkg --print-architecture)" = amd64 ] || skip "only made for amd64"
	local apt=$work/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	# A list of its own: the machine's own apt is left as it is.
	local suite
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
	[ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || skip "no Debian keyring here (package debian-archive-keyring)"
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
[ ! -e /proc/driver/nvidia/version ] || skip "this machine has an NVIDIA driver: the library without one cannot be shown"

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
