import types

from vllm.v1.worker.worker_base import WorkerWrapperBase


class EngineCore:
    def __init__(self, vllm_config):
        from vllm.plugins import load_general_plugins

        load_general_plugins()
        self.vllm_config = vllm_config
        self.worker = WorkerWrapperBase(rpc_rank=0)
        self.worker.init_worker()
        self.worker.init_device()
        self._initialize_kv_caches(vllm_config)
        self.worker.initialize_from_config(None)
        caching = vllm_config.cache_config.enable_prefix_caching
        self.scheduler = types.SimpleNamespace(
            max_num_running_reqs=vllm_config.scheduler_config.max_num_seqs,
            max_num_scheduled_tokens=vllm_config.scheduler_config.max_num_batched_tokens,
            max_model_len=vllm_config.model_config.max_model_len,
            kv_cache_manager=types.SimpleNamespace(enable_caching=caching, block_pool=types.SimpleNamespace(num_gpu_blocks=40)),
        )

    def _initialize_kv_caches(self, vllm_config):
        """Changes the configuration as a core does for a model with non-causal attention."""
        if getattr(vllm_config.model_config, "non_causal", False):
            vllm_config.scheduler_config.enable_chunked_prefill = False
            vllm_config.cache_config.enable_prefix_caching = False
        vllm_config.cache_config.num_gpu_blocks = 40


class EngineCoreProc(EngineCore):
    engine_index = 0

    def run_busy_loop(self):
        raise SystemExit

    @staticmethod
    def run_engine_core(vllm_config, index=0):
        core = EngineCoreProc(vllm_config)
        core.engine_index = index
        try:
            core.run_busy_loop()
        except SystemExit:
            pass


class DPEngineCoreProc(EngineCoreProc):
    def run_busy_loop(self):
        raise SystemExit
