#!/usr/bin/env python3
"""Replaces alloc.py on the fake NVML library, which has no memory to allocate: it
writes the amounts to files that the library's script reads. With it, all of run.sh
runs on a machine without a GPU (internal/cli/gpu_e2e_test.go).

FAKE_ALLOC is a folder. In it, file N has what the driver shows as used on device N,
and job.N what it shows as the process's own. FAKE_ALLOC_LIES makes the files differ
from the report: "peak" (100 MiB less in the spikes), "device" (the first two devices
swapped).
"""

import os
import sys
import time

import alloc

FOLDER = os.environ["FAKE_ALLOC"]
LIE = os.environ.get("FAKE_ALLOC_LIES")
BASE, CONTEXT = 300 * alloc.MIB, 500 * alloc.MIB
sampled = 0  # devices


def write(name, size):
    with open(os.path.join(FOLDER, name), "w", encoding="ascii") as f:
        f.write(str(size))


class Files:
    """Driver and allocator for the devices that have files in FAKE_ALLOC."""

    def __init__(self):
        order = sorted(name for name in os.listdir(FOLDER) if name.startswith("uuid."))
        self.uuids = []
        for name in order:
            with open(os.path.join(FOLDER, name), encoding="ascii") as f:
                self.uuids.append(f.read().strip())
        self.numbers = list(range(len(order)))
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:  # one device, as run.sh gives it
            self.numbers = [n for n in self.numbers if visible == str(n) or self.uuids[n].startswith(visible)]
        self.sizes = {n: [] for n in self.numbers}
        global sampled
        sampled = len(self.numbers)

    def count(self):
        return len(self.numbers)

    def uuid(self, number):
        return self.uuids[self.numbers[number]].split("-", 1)[1]

    def free_and_total(self, number):
        return 79 * alloc.GIB, 80 * alloc.GIB

    def show(self, n):
        size = CONTEXT + sum(self.sizes[n])
        if LIE == "peak" and len(self.sizes[n]) == 2:
            size -= 100 * alloc.MIB
        to = 1 - n if LIE == "device" and n < 2 else n
        write(f"job.{to}", size)
        write(f"{to}", BASE + size)

    def enter(self, number):
        self.show(self.numbers[number])

    def allocate(self, number, size):
        n = self.numbers[number]
        self.sizes[n].append(size)
        self.show(n)
        return size

    def release(self, number, size):
        n = self.numbers[number]
        self.sizes[n].remove(size)
        self.show(n)


class NoTorch:
    def __init__(self):
        raise ImportError("there is no GPU")


def calls(name):
    with open(os.environ["FAKE_NVML_LOG"], encoding="ascii") as f:
        return f.read().count(" " + name)


def rest(seconds):
    """Waits until vobs has read the memory and, in a long rest, listed the processes."""
    wanted = {"nvmlDeviceGetMemoryInfo": 5 * sampled}
    if seconds > 1:
        wanted["nvmlDeviceGetComputeRunningProcesses"] = 2 * sampled
    before = {name: calls(name) for name in wanted}
    deadline = time.monotonic() + 60
    while any(calls(name) < before[name] + n for name, n in wanted.items()):
        if time.monotonic() > deadline:
            sys.exit("fake_alloc.py: vobs took no samples for 60 s")
        time.sleep(0.02)


alloc.Driver, alloc.Torch, alloc.rest = Files, NoTorch, rest
if __name__ == "__main__":
    try:
        alloc.run(sys.argv[1:])
    finally:  # nothing outlives the process
        for n in Files().numbers:
            write(f"job.{n}", 0)
            write(f"{n}", BASE)
