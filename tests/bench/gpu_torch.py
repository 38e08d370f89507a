#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tokens a second of Hugging Face's T5-small shapes on one GPU, fp32 without
TF32, as tests/run_gpu.sh times ztrain: 16 samples of 512 and 114 tokens."""
import time

import torch
from transformers import T5Config, T5ForConditionalGeneration

BATCH, SOURCE, TARGET, WARM, STEPS = 16, 512, 114, 5, 25

torch.backends.cuda.matmul.allow_tf32 = False
torch.manual_seed(1)
model = T5ForConditionalGeneration(T5Config(dropout_rate=0.0)).cuda().train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
source = torch.randint(3, 32000, (BATCH, SOURCE), device="cuda")
labels = torch.randint(3, 32000, (BATCH, TARGET), device="cuda")
for step in range(WARM + STEPS):
    if step == WARM:
        torch.cuda.synchronize()
        began = time.time()
    loss = model(input_ids=source, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
torch.cuda.synchronize()
seconds = (time.time() - began) / STEPS
print(f"{torch.cuda.get_device_name()}: {seconds:.4f} s a step, "
      f"{BATCH * SOURCE / seconds:.0f} input tokens/s, torch {torch.__version__}")
