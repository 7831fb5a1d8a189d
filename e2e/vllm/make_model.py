"""Makes a tiny random Llama and its tokenizer: about 1 MB, 0.6 M parameters.

    make_model.py FOLDER

It needs tokenizers, transformers and torch. Nothing is downloaded: the tokenizer
is trained on text that is generated from a fixed seed, so every run gives the same
vocabulary.
"""

import os
import random
import shutil
import sys

VOCABULARY = 1024
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]


def text(lines=8000, seed=7):
    """Yields lines of made-up words whose frequencies are those of a real text."""
    rng = random.Random(seed)
    syllables = [c + v + e for c in "bcdfghjklmnprstvwz" for v in "aeiou" for e in ("", "n", "r", "s", "t", "l")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(4000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    for _ in range(lines):
        yield " ".join(rng.choices(words, weights, k=12)).capitalize() + "."


def main(folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    import torch

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        text(),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    if len(fast) != VOCABULARY:
        sys.exit(f"make_model: the tokenizer has {len(fast)} entries, not {VOCABULARY}")

    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            bos_token_id=fast.bos_token_id,
            eos_token_id=fast.eos_token_id,
            pad_token_id=fast.pad_token_id,
        )
    )

    # All or nothing: an unfinished model never has the final name.
    part = folder.rstrip("/") + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    fast.save_pretrained(part)
    model.to(torch.bfloat16).save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(part, folder)
    print(f"make_model: {model.num_parameters()} parameters, {len(fast)} tokens")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
