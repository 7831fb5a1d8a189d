#!/usr/bin/env python3
"""A user's offline script: LLM(), and nothing about metrics. It runs in vLLM's
environment and prints what it counted as one line, RESULT and JSON.

    offline.py MODEL [ARGUMENTS]     more arguments of LLM(), as JSON
"""

import json
import sys


def main():
    from vllm import LLM, SamplingParams

    more = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    llm = LLM(model=sys.argv[1], enforce_eager=True, load_format="dummy", max_model_len=512, num_gpu_blocks_override=40, **more)
    # 100 to 123 tokens, of which the first 64 are the same in all prompts.
    prompts = [{"prompt_token_ids": [100 + j if j < 64 else 16 + (i * 37 + j) % 900 for j in range(100 + i)]} for i in range(24)]
    outputs = llm.generate(prompts, SamplingParams(max_tokens=32, ignore_eos=True, temperature=0))
    counted = {
        "requests": len(outputs),
        "prompt": sum(len(o.prompt_token_ids) for o in outputs),
        "generated": sum(len(o.outputs[0].token_ids) for o in outputs),
        "per_request": sorted(len(o.prompt_token_ids) for o in outputs),
    }
    print("RESULT " + json.dumps(counted), flush=True)


if __name__ == "__main__":
    main()
