# SPDX-License-Identifier: BSD-3-Clause
"""Tokens a second of Transformers' generate under DeepSpeed ZeRO-3, for
generate_ranks.sh: MODEL PROMPTS.jsonl NEW BATCH, started by torchrun."""
import json
import sys
import time

import deepspeed
import torch
from transformers import AutoModelForSeq2SeqLM
from transformers.integrations import HfDeepSpeedConfig

folder, prompts, new, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
deepspeed.init_distributed("gloo")
rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}}
keep = HfDeepSpeedConfig(config)  # from_pretrained shards as long as it lives
model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
engine = deepspeed.initialize(model=model, config=config)[0]
engine.module.eval()
with open(prompts) as lines:
    ids = torch.tensor([json.loads(line)["tokens"] for line in lines])
ids = ids[rank * batch : (rank + 1) * batch]


def generate(n):
    with torch.no_grad():
        engine.module.generate(ids, do_sample=False, min_new_tokens=n, max_new_tokens=n,
                               pad_token_id=0, synced_gpus=True)


generate(2)
began = time.perf_counter()
generate(new)
if rank == 0:
    print("tokens a second:", ranks * batch * new / (time.perf_counter() - began), flush=True)
