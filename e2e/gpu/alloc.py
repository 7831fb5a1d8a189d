#!/usr/bin/env python3
"""Allocates known amounts of GPU memory on every visible device.

    alloc.py probe            prints "UUID FREE TOTAL" per device (bytes); without a device
                              it prints the reason and exits with status 3
    alloc.py context REPORT   only creates a CUDA context on each device, and stays a while
    alloc.py hold REPORT      holds 1 GiB for some seconds; then, three times, 2 GiB plus
                              64 MiB times the device's number more, for 100 ms

It uses PyTorch if that can be imported and sees a GPU, otherwise the CUDA driver
library. REPORT lists what was allocated, and when, for check.py. Apart from torch it
needs the standard library only.
"""

import ctypes
import json
import sys
import time

MIB, GIB = 1 << 20, 1 << 30
HELD = GIB
NO_GPU = 3  # exit status of probe


def spike(number):
    """Returns the size of a device's spike: a different one for each device."""
    return 2 * GIB + 64 * MIB * number


def rest(seconds):
    """Gives vobs time to sample. fake_alloc.py waits until it has instead."""
    time.sleep(seconds)


class CUDAError(Exception):
    pass


class Driver:
    """The few calls of libcuda.so.1 (CUDA driver API) that are needed."""

    def __init__(self):
        try:
            self.lib = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise CUDAError(f"libcuda.so.1 cannot be loaded ({error})") from error
        self.call("cuInit", 0)

    def call(self, name, *args):
        code = getattr(self.lib, name)(*args)
        if code != 0:
            raise CUDAError(f"{name} fails with {code}")

    def count(self):
        n = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(n))
        return n.value

    def device(self, number):
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), number)
        return device

    def uuid(self, number):
        """Returns the UUID; of a MIG instance its own, if the driver has the newer call."""
        raw = (ctypes.c_ubyte * 16)()
        name = "cuDeviceGetUuid_v2" if hasattr(self.lib, "cuDeviceGetUuid_v2") else "cuDeviceGetUuid"
        self.call(name, raw, self.device(number))
        h = bytes(raw).hex()
        return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))

    def enter(self, number):
        """Makes the device's primary context current, which torch uses too."""
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self.device(number))
        self.call("cuCtxSetCurrent", context)

    def free_and_total(self, number):
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.enter(number)
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def allocate(self, number, size):
        pointer = ctypes.c_uint64()
        self.enter(number)
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(size))
        return pointer

    def release(self, number, pointer):
        self.enter(number)
        self.call("cuMemFree_v2", pointer)


class Torch:
    """Allocates with PyTorch's caching allocator."""

    def __init__(self):
        import torch

        if not torch.cuda.is_available():
            raise ImportError("this torch sees no GPU")
        self.torch = torch

    def enter(self, number):
        # Allocates instead of launching a kernel, whose code would be loaded, and counted, later.
        self.torch.empty(1, dtype=self.torch.uint8, device=f"cuda:{number}")

    def allocate(self, number, size):
        # A list, so that release can drop the only reference.
        return [self.torch.empty(size, dtype=self.torch.uint8, device=f"cuda:{number}")]

    def release(self, number, tensors):
        tensors.clear()
        with self.torch.cuda.device(number):
            self.torch.cuda.empty_cache()


def probe():
    try:
        driver = Driver()
        try:
            code = ctypes.CDLL("libnvidia-ml.so.1").nvmlInit_v2()
        except OSError as error:
            raise CUDAError(f"libnvidia-ml.so.1 cannot be loaded ({error})") from error
        if code != 0:
            raise CUDAError(f"nvmlInit_v2 fails with {code}")
        if driver.count() == 0:
            raise CUDAError("CUDA sees no device")
    except CUDAError as error:
        print(error)
        sys.exit(NO_GPU)
    for number in range(driver.count()):
        print(driver.uuid(number), *driver.free_and_total(number))


def main(what, path):
    driver = Driver()
    try:
        allocator, name = Torch(), "torch"
    except ImportError:
        allocator, name = driver, "libcuda"
    numbers = range(driver.count())
    report = {"allocator": name, "devices": [{"uuid": driver.uuid(n), "held": 0, "peak": 0} for n in numbers]}
    for n in numbers:
        allocator.enter(n)
    # vobs lists processes less often than it reads memory, and less often the more
    # devices there are; and it first makes up for a slow init of NVML.
    seconds = 10 + 2 * len(numbers)
    if what == "hold":
        kept = [allocator.allocate(n, HELD) for n in numbers]
        rest(seconds)
        report["spikes_from"] = time.time()
        for _ in range(3):
            more = [allocator.allocate(n, spike(n)) for n in numbers]
            rest(0.1)
            for n in numbers:
                allocator.release(n, more[n])
            rest(0.1)
        report["spikes_until"] = time.time()
        for n in numbers:
            report["devices"][n].update(held=HELD, peak=HELD + spike(n))
            allocator.release(n, kept[n])
    rest(seconds if what == "context" else 0.5)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(report, f)


def run(args):
    if args == ["probe"]:
        probe()
    elif len(args) == 2 and args[0] in ("context", "hold"):
        main(*args)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    run(sys.argv[1:])
