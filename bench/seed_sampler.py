"""Samples GPU memory around a command as a Python harness does: a daemon thread reads
the memory of all devices through NVML (nvidia-ml-py), like NvmlPeakSampler of NeMo Safe
Synthesizer. ./overhead compares `vobs run` with it. It costs less than the original,
which also imports its package, pydantic and more.

    seed_sampler.py INTERVAL REPORT COMMAND...

INTERVAL is in seconds. REPORT is a file for "samples period max-gap peak..." (seconds,
bytes), or "-" for none.
"""

import subprocess
import sys
import threading
import time

import pynvml


class Sampler:
    """Samples the peak memory of every device while the context lasts."""

    def __init__(self, interval):
        self.interval = interval
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.samples, self.gap, self.first, self.last = 0, 0.0, None, None
        self.peaks = []

    def __enter__(self):
        pynvml.nvmlInit()
        self.devices = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        self.peaks = [0] * len(self.devices)
        self.thread.start()
        return self

    def run(self):
        while not self.stopping.is_set():
            for i, device in enumerate(self.devices):
                self.peaks[i] = max(self.peaks[i], pynvml.nvmlDeviceGetMemoryInfo(device).used)
            now = time.monotonic()
            if self.last is None:
                self.first = now
            else:
                self.gap = max(self.gap, now - self.last)
            self.last = now
            self.samples += 1
            self.stopping.wait(self.interval)

    def __exit__(self, *exc):
        self.stopping.set()
        self.thread.join()
        pynvml.nvmlShutdown()


with Sampler(float(sys.argv[1])) as sampler:
    code = subprocess.call(sys.argv[3:])
if sys.argv[2] != "-":
    period = (sampler.last - sampler.first) / max(sampler.samples - 1, 1)
    with open(sys.argv[2], "w") as report:
        print(sampler.samples, period, sampler.gap, *sampler.peaks, file=report)
sys.exit(code)
