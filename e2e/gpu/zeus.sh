#!/usr/bin/env bash
# Compares the energies in an event with those that Zeus measures in the same run: the whole
# one, that of the active time, and joules per token. zeus_engine.py is the command: a stand-in
# for an engine that has Zeus measure its own windows.
#
# It runs on the fake NVML library, where the energy counter is a file that the engine writes;
# with REAL=1 on the first real GPU, which stays idle. Needs bin/vobs (another one: VOBS=path),
# python3 with venv, and PyPI: Zeus is installed into .e2e/zeus. Without it the script prints
# "e2e-zeus: SKIPPED" and exits with status 0.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
vobs=${VOBS:-$root/bin/vobs}
version=0.16.0
venv=$root/.e2e/zeus/$version
out=${OUT:-$root/.e2e/zeus/out}

skip() {
	echo "e2e-zeus: SKIPPED: $1" >&2
	exit 0
}

if [ ! -e "$venv/complete" ]; then
	command -v python3 >/dev/null || skip "there is no python3, which Zeus needs"
	rm -rf "$venv"
	log=$(python3 -m venv "$venv" 2>&1 && "$venv/bin/pip" install -q --disable-pip-version-check "zeus==$version" 2>&1) ||
		skip "Zeus $version cannot be installed (it needs python3 with venv, and PyPI): $(tail -n 1 <<<"$log")"
	touch "$venv/complete"
fi
mkdir -p "$out"
rm -f "$out"/*

if [ -z "${REAL:-}" ]; then
	echo 1000 >"$out/joules"
	cat >"$out/gpu" <<SCRIPT
device 0
name "Simulated GPU"
used 20GiB
process pid=child mem=18GiB
power 500
energy 0 file $out/joules
SCRIPT
	export LD_LIBRARY_PATH=$root/testdata/fakenvml/build${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	export FAKE_NVML_SCRIPT=$out/gpu JOULES=$out/joules
elif ! "$venv/bin/python" -c 'import pynvml; pynvml.nvmlInit(); pynvml.nvmlDeviceGetHandleByIndex(0)' 2>/dev/null; then
	skip "no NVIDIA GPU at hand"
fi
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
CUDA_VISIBLE_DEVICES=0 "$vobs" run -q -o "$out/event.json" --metrics-url "http://127.0.0.1:$port/metrics" -- \
	"$venv/bin/python" -B "$here/zeus_engine.py" "$port" "$out/zeus.json" || {
	echo "e2e-zeus: FAIL: zeus_engine.py under vobs ended with $?" >&2
	exit 1
}
"$vobs" validate --strict "$out/event.json" >/dev/null
"$venv/bin/python" -B "$here/check_zeus.py" "$out/event.json" "$out/zeus.json"
