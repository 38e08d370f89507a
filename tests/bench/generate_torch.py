# SPDX-License-Identifier: BSD-3-Clause
"""Tokens a second of Transformers' generate, loading and first call left out.

usage: generate_torch.py MODEL_FOLDER PROMPTS.jsonl NEW_TOKENS BATCH THREADS
"""
import json
import sys
import time

import torch
from transformers import (AutoConfig, AutoModelForCausalLM,
                          AutoModelForSeq2SeqLM)


def main():
    folder, prompts, new, batch, threads = sys.argv[1:6]
    new, batch = int(new), int(batch)
    torch.set_num_threads(int(threads))
    with open(prompts, encoding="ascii") as file:
        ids = [json.loads(line)["tokens"] for line in file]
    kind = (AutoModelForSeq2SeqLM
            if AutoConfig.from_pretrained(folder).is_encoder_decoder
            else AutoModelForCausalLM)
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()

    def run(some, count):
        with torch.inference_mode():
            model.generate(torch.tensor(some), do_sample=False,
                           min_new_tokens=count, max_new_tokens=count,
                           pad_token_id=0)

    run(ids[:batch], 2)
    begun = time.perf_counter()
    for i in range(0, len(ids), batch):
        run(ids[i:i + batch], new)
    print(len(ids) * new / (time.perf_counter() - begun))


main()
