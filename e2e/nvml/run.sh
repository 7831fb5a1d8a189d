#!/usr/bin/env bash
# Tests vobs with the real libnvidia-ml.so.1 and no driver behind it. Fetches Debian's
# package (component non-free), unpacks it into .e2e/nvml without installing anything, and
# checks that vobs runs the command as usual and reports what is missing. If the package
# cannot be fetched, it prints "e2e-nvml: SKIPPED" and exits with status 0.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=e2e/debian.sh
. e2e/debian.sh
vobs=${VOBS:-$PWD/bin/vobs}
work=$PWD/.e2e/nvml

skip() {
	echo "e2e-nvml: SKIPPED: $1" >&2
	exit 0
}

mkdir -p "$work"
find_library() { find "$work/root" -name libnvidia-ml.so.1 -print -quit 2>/dev/null || true; }
library=$(find_library)
if [ -z "$library" ]; then
	[ "$(dpkg --print-architecture 2>/dev/null || echo amd64)" = amd64 ] || skip "this test is for amd64 only"
	unpack_debian "$work" "$work/root" non-free libnvidia-ml1 || skip "$debian_problem"
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
