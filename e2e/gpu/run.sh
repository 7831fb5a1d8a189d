#!/usr/bin/env bash
# Tests vobs on a real GPU. alloc.py allocates and frees known amounts under `vobs run`,
# with PyTorch or the CUDA driver library, and check.py compares the event with them: for
# each device the peak above the baseline, the command's own memory, energy and period.
#
#   all       every visible device at once, a different amount on each
#   index     CUDA_VISIBLE_DEVICES=INDEX of the last device
#   uuid      CUDA_VISIBLE_DEVICES=GPU-UUID of the same device
#   prefix    CUDA_VISIBLE_DEVICES=the beginning of that UUID
#
# run.sh [index] [uuid] [prefix] runs these and all; without arguments it runs every case.
# Needs bin/vobs (another one: VOBS=path), python3 (another one, with torch: PYTHON=path)
# and 4 GiB free on each device. Writes .e2e/gpu (another folder: OUT=path). Without a GPU
# it prints "e2e-gpu: SKIPPED" and exits with status 0. ALLOC replaces alloc.py in the
# test without a GPU.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
vobs=${VOBS:-$root/bin/vobs}
python=${PYTHON:-python3}
out=${OUT:-$root/.e2e/gpu}
alloc=${ALLOC:-$here/alloc.py}
wanted=" all ${*:-index uuid prefix} "

skip() {
	echo "e2e-gpu: SKIPPED: $1" >&2
	exit 0
}

command -v "$python" >/dev/null || skip "there is no $python, which allocates the memory and compares the figures"
code=0
devices=$("$python" -B "$alloc" probe) || code=$?
case $code in
0) ;;
3) skip "no NVIDIA GPU at hand: $devices" ;;
*)
	echo "e2e-gpu: FAIL: alloc.py probe ended with $code: $devices" >&2
	exit 1
	;;
esac
while read -r uuid free _; do
	[ "$free" -ge $((4 << 30)) ] || skip "device $uuid has only $((free >> 20)) MiB free: 4 GiB are needed"
done <<<"$devices"
count=$(wc -l <<<"$devices")
# A device gets 3 GiB plus 64 MiB for each device before it: 16 devices stay below 4 GiB.
[ "$count" -le 16 ] || skip "$count devices: this test allocates on 16 at most"

mkdir -p "$out"
rm -f "$out"/*.json
failed=0

# bracket CASE [FLAGS OF check.py] runs a context alone, then the known amounts. With
# --strict the first reading comes before the command, however slow NVML's init is.
bracket() {
	local name=$1 what code
	shift
	[[ $wanted = *" $name "* ]] || return 0
	for what in context hold; do
		code=0
		"$vobs" run --strict -q -o "$out/$name.$what.json" -- "$python" -B "$alloc" "$what" "$out/$name.$what.report.json" || code=$?
		if [ "$code" != 0 ]; then
			echo "e2e-gpu: FAIL: $name: alloc.py $what under vobs ended with $code" >&2
			failed=1
			return
		fi
		"$vobs" validate --strict "$out/$name.$what.json" >/dev/null || failed=1
	done
	"$python" -B "$here/check.py" "$name" --context "$out/$name.context.json" --hold "$out/$name.hold.json" \
		--report "$out/$name.hold.report.json" "$@" || failed=1
}

bracket all

# The last of the devices that CUDA saw, as NVML names it: "INDEX UUID".
last=
if [ -f "$out/all.hold.report.json" ]; then
	last=$("$python" -c '
import json, sys
wanted = json.load(open(sys.argv[2]))["devices"][-1]["uuid"]
for gpu in json.load(open(sys.argv[1]))["gpus"] or []:
    if gpu["uuid"].lower().endswith(wanted):
        print(gpu["index"], gpu["uuid"])
' "$out/all.hold.json" "$out/all.hold.report.json")
fi
if [ -z "$last" ]; then
	echo "e2e-gpu: FAIL: the event has none of the devices that CUDA saw" >&2
	failed=1
else
	read -r index uuid <<<"$last"
	export CUDA_DEVICE_ORDER=PCI_BUS_ID # NVML's order
	case $uuid in
	GPU-*)
		CUDA_VISIBLE_DEVICES=$index bracket index --only "$uuid"
		CUDA_VISIBLE_DEVICES=${uuid:0:12} bracket prefix --only "$uuid"
		;;
	*) echo "e2e-gpu: SKIPPED: the cases index and prefix: $uuid is not a whole GPU" >&2 ;;
	esac
	CUDA_VISIBLE_DEVICES=$uuid bracket uuid --only "$uuid"
fi

if [ "$failed" != 0 ]; then
	echo "e2e-gpu: FAIL: the events and reports are in $out" >&2
	exit 1
fi
echo "e2e-gpu: PASS on $count device(s)"
