#!/usr/bin/env bash
# Tests whose GPU memory is whose under Ray, with a real Ray and the fake NVML library. A node of
# Ray is started first. Then three runs go at once: two drivers, each with a worker that holds
# memory on the fake GPUs, and a command without a driver. check.py compares the events: the
# memory of a driver's own worker and of the worker's child is the job's, that of the other
# driver's is foreign, and without a driver nothing is claimed.
#
# Needs bin/vobs (another one: VOBS=path), python3 with venv, and PyPI: Ray is installed into
# .e2e/ray (300 MB). Without it the script prints "e2e-ray: SKIPPED" and exits with status 0.
# It ends the node that it started, and no other.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
vobs=${VOBS:-$root/bin/vobs}
version=2.60.0
venv=$root/.e2e/ray/$version
out=${OUT:-$root/.e2e/ray/out}

skip() {
	echo "e2e-ray: SKIPPED: $1" >&2
	exit 0
}

fail() {
	echo "e2e-ray: FAIL: $1" >&2
	exit 1
}

if [ ! -e "$venv/complete" ]; then
	command -v python3 >/dev/null || skip "there is no python3, which Ray needs"
	rm -rf "$venv"
	log=$(python3 -m venv "$venv" 2>&1 && "$venv/bin/pip" install -q --disable-pip-version-check "ray==$version" 2>&1) ||
		skip "Ray $version cannot be installed (it needs python3 with venv, a Python that it supports, and PyPI): $(tail -n 1 <<<"$log")"
	touch "$venv/complete"
fi
mkdir -p "$out"
rm -f "$out"/*

# The path of Ray's sockets is limited to 107 bytes, so its files are not below .e2e.
session=$(mktemp -d "${TMPDIR:-/tmp}/vobs-ray.XXXXXX")
# in_session prints the processes of this node: Ray's daemons and workers have a log open in its
# directory, or name it in their arguments.
in_session() {
	local process
	for process in /proc/[0-9]*; do
		if [ "${process#/proc/}" != $$ ] && { tr '\0' '\n' <"$process/cmdline" | grep -qF "$session" ||
			find "$process/fd" -lname "$session/*" -print -quit | grep -q .; } 2>/dev/null; then
			echo "${process#/proc/}"
		fi
	done
}
node=
end_node() {
	[ -z "$node" ] || kill -TERM "$node" 2>/dev/null || true
	for _ in $(seq 100); do
		[ -n "$(in_session)" ] || break
		sleep 0.1
	done
	local left
	left=$(in_session)
	[ -z "$left" ] || kill -KILL $left 2>/dev/null || true
	rm -rf "$session"
}
trap end_node EXIT

export RAY_USAGE_STATS_ENABLED=0
# `ray stop` would end the nodes of others, too. With --block, Ray ends its processes itself.
"$venv/bin/ray" start --head --block --port 0 --node-ip-address 127.0.0.1 --num-cpus 4 --include-dashboard=false \
	--disable-usage-stats --temp-dir "$session" >"$out/ray.log" 2>&1 &
node=$!
for _ in $(seq 600); do
	[ ! -s "$session/ray_current_cluster" ] || ! grep -q 'Ray runtime started' "$out/ray.log" || break
	kill -0 "$node" 2>/dev/null || fail "Ray did not start: $(tail -n 3 "$out/ray.log")"
	sleep 0.1
done
[ -s "$session/ray_current_cluster" ] || fail "Ray did not start within a minute: $(tail -n 3 "$out/ray.log")"
RAY_ADDRESS=$(cat "$session/ray_current_cluster")
export RAY_ADDRESS

cat >"$out/gpu" <<SCRIPT
devices 3
device 0
used 8GiB
process pid=file:$out/a.worker mem=3GiB
process pid=file:$out/b.worker mem=5GiB
device 1
used 2GiB
process pid=file:$out/b.worker mem=2GiB
device 2
used 1GiB
process pid=file:$out/a.child mem=1GiB
SCRIPT
export LD_LIBRARY_PATH=$root/testdata/fakenvml/build${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export FAKE_NVML_SCRIPT=$out/gpu

# bracket NAME COMMAND… runs a command under vobs, with a log of the calls of NVML of its own.
bracket() {
	local name=$1
	shift
	FAKE_NVML_LOG=$out/$name.calls "$vobs" run -v --strict -o "$out/$name.json" -- "$@" >"$out/$name.log" 2>&1
}
declare -A pid
bracket a "$venv/bin/python" -B "$here/driver.py" "$out" a b &
pid[a]=$!
bracket b "$venv/bin/python" -B "$here/driver.py" "$out" b a &
pid[b]=$!
# Ends with the drivers.
bracket without sh -c 'while [ ! -e "$1/a.sampled" ] || [ ! -e "$1/b.sampled" ]; do sleep 0.1; done' sh "$out" &
pid[without]=$!
failed=
for name in a b; do
	wait "${pid[$name]}" || failed="$failed $name"
done
[ -z "$failed" ] || {
	kill "${pid[without]}" 2>/dev/null || true
	fail "the run of$failed failed: $(tail -n 5 "$out/${failed##* }.log")"
}
wait "${pid[without]}" || fail "the run without a driver failed: $(tail -n 5 "$out/without.log")"
for name in a b without; do
	"$vobs" validate --strict "$out/$name.json" >/dev/null || fail "$name.json is not valid"
done
"$venv/bin/python" -B "$here/check.py" "$out"
echo "e2e-ray: PASS with Ray $version"
