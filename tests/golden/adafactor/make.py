#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ten steps of Adafactor on tests/golden/t5v10tiny, and a loss with label
smoothing and z-loss: writes golden.json beside this file.
Needs torch, transformers and safetensors; the tests do not."""
import json
import os
import torch
import transformers
from safetensors.torch import load_file
from transformers import T5ForConditionalGeneration
from transformers.optimization import Adafactor

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "t5v10tiny")
STEPS, CLIP, SAMPLES = 10, 1.0, 24
RUNS = {
    "scaled": dict(
        options=dict(lr=1e-2, scale_parameter=True, relative_step=False),
        smoothing=0.0, z_loss=0.0),
    "plain": dict(
        options=dict(lr=1e-3, scale_parameter=False, relative_step=False,
                     weight_decay=0.01, decay_rate=-0.7, clip_threshold=0.5),
        smoothing=0.1, z_loss=1e-2),
    "relative": dict(
        options=dict(scale_parameter=True, relative_step=True,
                     warmup_init=False),
        smoothing=0.0, z_loss=1e-3),
}


def objective(logits, labels, smoothing, z_loss):
    logits, labels = logits.flatten(0, 1), labels.flatten()
    plain = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100)
    smooth = torch.nn.functional.cross_entropy(
        logits, labels, ignore_index=-100, label_smoothing=smoothing)
    z = torch.logsumexp(logits[labels >= 0], -1)
    return plain, smooth + z_loss * (z * z).mean()


def sample(tensor):
    flat = tensor.detach().flatten()
    stride = max(1, flat.numel() // SAMPLES)
    return [float(x) for x in flat[::stride][:SAMPLES]]


def run(options, smoothing, z_loss):
    model = T5ForConditionalGeneration.from_pretrained(MODEL)
    model.set_attn_implementation("eager")
    model.train()
    named = dict(model.named_parameters())
    optimizer = Adafactor(named.values(), **options)
    io = load_file(os.path.join(MODEL, "io.safetensors"))
    out = dict(losses=[], objectives=[], grad_norms=[])
    for s in range(STEPS):
        optimizer.zero_grad()
        labels = io["labels"][s].long()
        logits = model(input_ids=io["input_ids"][s].long(),
                       attention_mask=io["attention_mask"][s].long(),
                       labels=labels, use_cache=False).logits
        plain, total = objective(logits, labels, smoothing, z_loss)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(named.values(), CLIP)
        optimizer.step()
        out["losses"].append(plain.item())
        out["objectives"].append(total.item())
        out["grad_norms"].append(norm.item())
    out["parameters"] = {k: sample(p) for k, p in named.items()}
    return out


torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
result = dict(torch=torch.__version__, transformers=transformers.__version__,
              clip=CLIP, samples=SAMPLES,
              runs={name: dict(r, **run(**r)) for name, r in RUNS.items()})
text = json.dumps(result)
# More digits than fp32 has.
text = json.dumps(json.loads(text, parse_float=lambda x: round(float(x), 12)))
with open(os.path.join(HERE, "golden.json"), "w") as f:
    f.write(text + "\n")
