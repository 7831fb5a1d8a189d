"""A stand-in for torch: with CUDA if STANDIN_CUDA is set, otherwise a build without it."""

import os
import types

version = types.SimpleNamespace(cuda="12.9" if os.environ.get("STANDIN_CUDA") else None, hip=None)


class Cuda:
    def __init__(self):
        self.started = False
        self.allocated = self.reserved = 0
        self.reads = 0
        self.broken = False

    def is_initialized(self):
        return self.started

    def device_count(self):
        return 2

    def memory_stats_as_nested_dict(self, index):
        # Like torch, make a new dictionary of many statistics on each call.
        allocated, reserved = self.max_memory_allocated(index), self.max_memory_reserved(index)
        kinds = ("allocation", "segment", "active", "inactive_split", "active_bytes", "inactive_split_bytes", "requested_bytes")
        stats = {kind: {pool: self.statistics(1) for pool in ("all", "small_pool", "large_pool")} for kind in kinds}
        return {**stats, "allocated_bytes": {"all": self.statistics(allocated)}, "reserved_bytes": {"all": self.statistics(reserved)}}

    @staticmethod
    def statistics(peak):
        return {"current": 0, "peak": peak, "allocated": 1 << 50, "freed": 1 << 50}

    def max_memory_allocated(self, index):
        self.reads += 1
        if not self.started:
            raise AssertionError("the plugin started CUDA")
        if self.broken:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return self.allocated if index == 1 else 0

    def max_memory_reserved(self, index):
        return self.reserved if index == 1 else 0

    def get_device_properties(self, index):
        return types.SimpleNamespace(uuid=f"8f6a3c1e-0d2b-4a77-9f57-5c1a3b0e9d4{index}")


cuda = Cuda()


def start():
    """Initializes CUDA as a worker's init_device does, on device 1."""
    if not version.cuda:
        return types.SimpleNamespace(type="cpu", index=None)
    cuda.started = True
    cuda.allocated, cuda.reserved = 1000, 2000
    return types.SimpleNamespace(type="cuda", index=1)
