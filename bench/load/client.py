"""Sends requests with the request function of `vllm bench serve`, as its benchmark() does
(vllm/benchmarks/serve.py), and prints what they cost as one line of JSON.

    client.py endpoint_request_func.py URL REQUESTS TOKENS CONCURRENCY RATE PROCESS FIRST_ID MODEL EARLY

CONCURRENCY of 0 means no limit, RATE of 0 means that all requests are sent at once. PROCESS
is that of the arrivals: poisson or constant. Chunks that come less than EARLY seconds after
the one before are counted. The CPU time is that from the first request on:
what Python and the imports take is not in it.
"""

import asyncio
import contextlib
import gc
import importlib.util
import json
import random
import resource
import sys
import time

import aiohttp


def load(path):
    """Imports a file of vLLM without the package, which would import PyTorch."""
    spec = importlib.util.spec_from_file_location("endpoint_request_func", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


async def main(path, url, requests, tokens, concurrency, rate, process, first_id, model, early):
    vllm = load(path)
    connector = aiohttp.TCPConnector(
        limit=concurrency,
        limit_per_host=concurrency,
        ttl_dns_cache=300,
        use_dns_cache=True,
        keepalive_timeout=60,
        enable_cleanup_closed=True,
        force_close=False,
        ssl=False,
    )
    inputs = [
        vllm.RequestFuncInput(
            prompt=[first_id + n] + [first_id] * 15,
            api_url=url + "/v1/completions",
            prompt_len=16,
            output_len=tokens,
            model=model,
            ignore_eos=True,
        )
        for n in range(requests)
    ]
    rng = random.Random(1)
    arrivals, at = [], 0.0
    for _ in inputs:
        arrivals.append(at)
        if rate:
            at += rng.expovariate(rate) if process == "poisson" else 1 / rate
    gate = asyncio.Semaphore(concurrency) if concurrency else contextlib.nullcontext()

    async def limited(request, session):
        async with gate:
            return await vllm.async_request_openai_completions(request_func_input=request, session=session, pbar=None)

    timeout = aiohttp.ClientTimeout(total=6 * 60 * 60)
    async with aiohttp.ClientSession(connector=connector, trust_env=True, timeout=timeout) as session:
        gc.collect()
        cpu, start, tasks = time.process_time(), time.time(), []
        for request, arrival in zip(inputs, arrivals):
            pause = start + arrival - time.time()
            if arrival > 0 and pause > 0:
                await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(limited(request, session)))
        outputs = await asyncio.gather(*tasks)
        cpu = time.process_time() - cpu
    failures = [o.error for o in outputs if not o.success]
    result = {
        "CPUSeconds": cpu,
        "Completed": sum(o.success for o in outputs),
        "Chunks": sum(len(o.itl) + 1 for o in outputs if o.success),
        "Early": sum(gap < early for o in outputs for gap in o.itl),
        "TTFT": {n: o.ttft for n, o in enumerate(outputs) if o.success},
        "Failure": failures[0][-500:] if failures else "",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    path, url, requests, tokens, concurrency, rate, process, first_id, model, early = sys.argv[1:]
    asyncio.run(main(path, url, int(requests), int(tokens), int(concurrency), float(rate), process, int(first_id), model, float(early)))
