# SPDX-License-Identifier: BSD-3-Clause
"""Makes tests/golden/beams.jsonl: what beam search of Transformers finds.

usage: beams.py GOLDEN_FOLDER PROMPTS.jsonl > beams.jsonl
(of which some lines are kept; the prompts are those of run_generate.sh)
One line for each model and setting: the options of ztgen, and new ids.
"""
import json
import os
import shutil
import sys
import tempfile

import torch
from transformers import (AutoConfig, AutoModelForCausalLM,
                          AutoModelForSeq2SeqLM)

CASES = [("t5v11tiny", "model"), ("t5v11tiny", "after10"),
         ("t5v10tiny", "model"), ("gpt2tiny", "after10"),
         ("llamatiny", "after10")]
SETTINGS = [(5, 1.0, 12, 0), (3, 0.0, 9, 4), (4, 2.0, 12, 3)]


def load(golden, name, weights):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(f"{golden}/{name}/config.json", folder)
        shutil.copy(f"{golden}/{name}/{weights}.safetensors",
                    os.path.join(folder, "model.safetensors"))
        config = AutoConfig.from_pretrained(folder)
        kind = (AutoModelForSeq2SeqLM if config.is_encoder_decoder
                else AutoModelForCausalLM)
        return kind.from_pretrained(folder, dtype=torch.float32).eval()


def main():
    golden, prompts = sys.argv[1:3]
    with open(prompts, encoding="ascii") as file:
        prompts = [json.loads(line)["tokens"] for line in file]
    for name, weights in CASES:
        model = load(golden, name, weights)
        skip = 1 if model.config.is_encoder_decoder else None
        for beams, penalty, most, least in SETTINGS:
            found = []
            for ids in prompts:
                out = model.generate(
                    torch.tensor([ids]), num_beams=beams, do_sample=False,
                    length_penalty=penalty, max_new_tokens=most,
                    min_new_tokens=least or None)[0].tolist()
                out = out[skip or len(ids):]
                end = model.generation_config.eos_token_id
                ends = end if isinstance(end, list) else [end]
                for i, token in enumerate(out):
                    if token in ends:
                        out = out[:i + 1]
                        break
                found.append(out)
            print(json.dumps({"model": name, "weights": weights, "options":
                              f"--beams {beams} --length-penalty {penalty} "
                              f"--max-new-tokens {most} "
                              f"--min-new-tokens {least}", "tokens": found}))


main()
