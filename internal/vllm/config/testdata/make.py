#!/usr/bin/env python3
"""Writes configs.json: configurations of a real vLLM, in both forms of /server_info.

    HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 …/venv/bin/python make.py MODEL >configs.json

MODEL is a folder with a tiny Llama (e2e/vllm/make_model.py). No engine is started:
EngineArgs.create_engine_config makes the VllmConfig, which is written as vLLM's own
entrypoints/serve/dev/server_info/api_router.py writes it, with the JSON form reduced to
FIELDS. Run by hand with vLLM 0.32.0; the output is committed.
"""

import json
import os
import sys
import tempfile

import pydantic
from vllm.config import VllmConfig
from vllm.config.attention import AttentionConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.attention.backends.registry import AttentionBackendEnum

# The part of the JSON form that is kept; the whole is 20 kB.
FIELDS = {
    "model_config": ("model", "served_model_name", "dtype", "quantization", "max_model_len", "enforce_eager", "hf_token"),
    "cache_config": (
        "block_size",
        "cache_dtype",
        "enable_prefix_caching",
        "prefix_caching_hash_algo",
        "num_gpu_blocks",
        "kv_cache_size_tokens",
        "kv_cache_memory_bytes",
        "gpu_memory_utilization",
    ),
    "parallel_config": ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "enable_expert_parallel"),
    "scheduler_config": ("max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "policy", "async_scheduling"),
    "speculative_config": ("method", "num_speculative_tokens"),
    "attention_config": ("backend",),
    "load_config": ("load_format",),
}


def reduce(section, fields):
    return section and {field: section[field] for field in fields}


def main():
    odd = os.path.join(tempfile.mkdtemp(dir="/tmp", prefix="m"), "it's a \"model\", max_seq_len=7 (x")
    os.symlink(os.path.abspath(sys.argv[1]), odd)
    base = {"model": sys.argv[1], "load_format": "dummy", "max_model_len": 512}
    cases = {
        "plain": {},
        "eager, no caching": {"enforce_eager": True, "enable_prefix_caching": False, "max_num_seqs": 7, "max_num_batched_tokens": 1024},
        "ngram": {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3}},
        "parallel": {"tensor_parallel_size": 2, "pipeline_parallel_size": 2, "distributed_executor_backend": "mp"},
        "fp8 cache": {"kv_cache_dtype": "fp8_e4m3", "block_size": 32, "gpu_memory_utilization": 0.5, "scheduling_policy": "priority"},
        "no chunks": {"enable_chunked_prefill": False, "max_num_batched_tokens": 4096, "dtype": "float32"},
        "odd names": {"model": odd, "served_model_name": ["a name, enforce_eager=True", "b"]},
        "unbalanced name": {"served_model_name": "a [ name"},
    }
    adapter = pydantic.TypeAdapter(VllmConfig)
    configs = []
    for name, args in cases.items():
        try:
            config = EngineArgs(**{**base, **args}).create_engine_config()
        except Exception as e:  # reported and left out
            print(f"{name}: {e!r}"[:300], file=sys.stderr)
            continue
        whole = adapter.dump_python(config, mode="json", fallback=str)
        configs.append({"name": name, "text": str(config), "json": {k: reduce(whole[k], fields) for k, fields in FIELDS.items()}})
    dump = pydantic.TypeAdapter(AttentionConfig)
    backends = {}
    for backend in AttentionBackendEnum:
        if backend.value:
            backends[backend.name] = dump.dump_python(AttentionConfig(backend=backend), mode="json", fallback=str)["backend"]
    text = json.dumps({"configs": configs, "backends": backends}, indent=1)
    print(text.replace(os.path.abspath(sys.argv[1]), "/models/tiny").replace(os.path.dirname(odd), "/models"))


main()
