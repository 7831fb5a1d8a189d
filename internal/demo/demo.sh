#!/usr/bin/env bash
# What `make demo` runs: vobs around its own simulated engine, with the fake NVML library
# as the GPU. The engine and the GPU are not real, and the output says so; the endpoint,
# the library and the processes are.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/gpu" <<SCRIPT
driver 580.82.07
device 0
name "Simulated GPU (80 GiB)"
total 80GiB
reserved 600MiB
used file $work/memory
process pid=child mem=file:$work/memory
power 70
power ramp 480 at=400ms for=600ms
power ramp -470 at=8300ms for=400ms
energy 0 rate 70 at=0
energy rate 450 at=600ms
energy rate -440 at=8500ms
temp 38
temp ramp 26 at=500ms for=3s
util 0.02
util step 0.93 at=500ms
util ramp -0.93 at=8300ms for=200ms
sm_active 0.01
sm_active step 0.88 at=500ms
sm_active ramp -0.88 at=8300ms for=200ms
sm_occupancy 0.01
sm_occupancy step 0.17 at=500ms
sm_occupancy ramp -0.17 at=8300ms for=200ms
tensor_active 0
tensor_active step 0.36 at=500ms
tensor_active ramp -0.36 at=8300ms for=200ms
dram_active 0.01
dram_active step 0.57 at=500ms
dram_active ramp -0.57 at=8300ms for=200ms
throttle sw_power_cap at=2s for=400ms
SCRIPT

# The command starts its engine, waits until it is done, and leaves it to end by itself a moment
# later. So vobs can read the engine's counters once more after the command.
mkfifo "$work/done"
cat >"$work/generate.sh" <<'SCRIPT'
bin/vobs demo-engine --duration 8s --memory-file "$1/memory" --done "$1/done" &
read -r -t 60 <>"$1/done"
SCRIPT

echo "demo: a simulated engine on a simulated GPU, for about ten seconds" >&2
LD_LIBRARY_PATH="$PWD/testdata/fakenvml/build${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" FAKE_NVML_SCRIPT="$work/gpu" \
	bin/vobs run --summary --label demo=simulated -- bash "$work/generate.sh" "$work"
