"""The part of VllmConfig that the plugin reports, and a secret, which it never reports."""

import enum
import types


class Backend(enum.Enum):
    CPU_ATTN = "vllm.v1.attention.backends.cpu_attn.CPUAttentionBackend"


class dtype:
    # The name is torch's.
    def __str__(self):
        return "torch.bfloat16"


def make(**changes):
    sections = {
        "model_config": {
            "model": "/models/tiny",
            "served_model_name": "tiny",
            "dtype": dtype(),
            "quantization": None,
            "max_model_len": 512,
            "enforce_eager": True,
            "hf_token": "hf_secret",
        },
        "load_config": {"load_format": "dummy"},
        "attention_config": {"backend": None},
        "parallel_config": {
            "tensor_parallel_size": 1,
            "pipeline_parallel_size": 1,
            "data_parallel_size": 1,
            "data_parallel_index": 0,
        },
        "scheduler_config": {
            "max_num_seqs": 16,
            "max_num_batched_tokens": 4096,
            "max_num_scheduled_tokens": None,
            "enable_chunked_prefill": True,
            "policy": "fcfs",
        },
        "cache_config": {
            "enable_prefix_caching": True,
            "prefix_caching_hash_algo": "sha256",
            "cache_dtype": "auto",
            "block_size": 128,
            "num_gpu_blocks": None,
            "gpu_memory_utilization": 0.92,
        },
    }
    for path, value in changes.items():
        section, field = path.split("__")
        sections[section][field] = value
    config = types.SimpleNamespace(**{name: types.SimpleNamespace(**fields) for name, fields in sections.items()})
    config.speculative_config = None
    return config
