# SPDX-License-Identifier: BSD-3-Clause
# Median seconds of a PyTorch training step: step.sh calls it.
#   step_torch.py CONFIG.json BATCH SOURCE TARGET STEPS
import statistics
import sys
import time

import torch
from transformers import T5Config, T5ForConditionalGeneration

config = T5Config.from_json_file(sys.argv[1])
batch, source, target, steps = map(int, sys.argv[2:])
torch.manual_seed(0)
model = T5ForConditionalGeneration(config).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
ids = torch.randint(3, 32000, (batch, source))
labels = torch.randint(3, 32000, (batch, target))
seconds = []
for _ in range(steps + 1):
    began = time.perf_counter()
    loss = model(input_ids=ids, labels=labels, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    loss.item()
    seconds.append(time.perf_counter() - began)
print(f"{statistics.median(seconds[1:]):.4f}")
