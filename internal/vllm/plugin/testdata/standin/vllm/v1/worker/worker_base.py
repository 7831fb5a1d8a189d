import types


class CPUAttentionBackend:
    __module__ = "vllm.v1.attention.backends.cpu_attn"


class Worker:
    def __init__(self, rank):
        self.rank = rank

    def init_device(self):
        import torch

        self.device = torch.start()

    def initialize_from_config(self, config):
        group = types.SimpleNamespace(backend=CPUAttentionBackend)
        self.model_runner = types.SimpleNamespace(attn_groups=[[group]])


class WorkerWrapperBase:
    def __init__(self, rpc_rank=0, global_rank=None):
        self.rpc_rank = rpc_rank
        self.global_rank = rpc_rank if global_rank is None else global_rank

    def init_worker(self):
        from vllm.plugins import load_general_plugins

        load_general_plugins()
        self.worker = Worker(self.global_rank)

    def init_device(self):
        self.worker.init_device()

    def initialize_from_config(self, kv_cache_configs):
        self.worker.initialize_from_config(kv_cache_configs)

    def __getattr__(self, name):
        return getattr(self.worker, name)
