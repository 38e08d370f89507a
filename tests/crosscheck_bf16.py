# SPDX-License-Identifier: BSD-3-Clause
"""200 steps on real text in fp32 and in bf16, by ztrain and by Transformers
(bf16: autocast), from the same weights on the same batches.

    crosscheck_bf16.py BUILD_DIR EMPTY_DIR

Each mean of 20 losses of ztrain's bf16 is within 1 % of its fp32's and of
Transformers' fp32's, and the first mean within 0.015 %.  How far autocast comes
is printed and not judged: after some 60 steps any rounding has grown to tenths
of a percent, fp32's beside fp32 too, and which of two is nearer is chance.  Over
these models and five other starts of each (SEED), the worst mean of ztrain was
on average 0.187 % away, that of autocast 0.188 %, each the nearer one about as
often.
"""
import glob
import gzip
import json
import os
import random
import subprocess
import sys

import torch
import transformers as tf

build, top = sys.argv[1:3]
tf.logging.set_verbosity_error()
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
STEPS, EACH, BATCH, LR, WARMUP = 200, 20, 16, 1e-3, 20
SOURCE, TARGET = 128, 48  # bytes of a sample, and the ones that follow
FIRST, END, SIZE = 3, 1, 384  # ids as ByT5's

MODELS = {
    "T5, relu": dict(feed_forward_proj="relu"),
    "T5, gated gelu, own head": dict(feed_forward_proj="gated-gelu",
                                     tie_word_embeddings=False),
}


def english():
    """Text of this machine's documentation, enough for all samples."""
    wanted = STEPS * BATCH * (SOURCE + TARGET)
    found = b""
    for path in sorted(glob.glob("/usr/share/common-licenses/*") +
                       glob.glob("/usr/share/doc/*/README*") +
                       glob.glob("/usr/share/doc/*/NEWS*") +
                       glob.glob("/usr/share/doc/*/*.txt*") +
                       glob.glob("/usr/share/perl/**/*.pod", recursive=True)):
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
            text = f.read(40000)
        letters = sum(map(text.count, b"etaoinshrdlu "))
        if len(text) > 2000 and letters > 0.6 * len(text):
            found += text
        if len(found) >= wanted:
            break
    return (found * (wanted // max(len(found), 1) + 1))[:wanted] or None


def write_inputs(text):
    """Pairs in the order of the steps."""
    whole = SOURCE + TARGET
    samples = [[FIRST + b for b in text[i:i + whole]]
               for i in range(0, len(text), whole)]
    random.Random(int(os.environ.get("SEED", 1))).shuffle(samples)
    pairs = [(s[:SOURCE], s[SOURCE:-1] + [END]) for s in samples]
    with open(f"{top}/pairs.jsonl", "w") as f:
        for source, target in pairs:
            f.write(json.dumps(dict(source=source, target=target)) + "\n")
    run("ztconv", "tokens", f"{top}/pairs.h5", "--vocab", str(SIZE),
        f"{top}/pairs.jsonl")
    return pairs


def run(program, *arguments):
    done = subprocess.run([os.path.join(build, program), *arguments],
                          capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, (program, arguments, done.stderr)


# ---- The four runs ----

def ours(precision):
    with open(f"{top}/run.cfg", "w") as f:
        f.write(f"""run = {{ dir = "{top}/{precision}"; }};
model = {{ weights = "{top}/weights.h5"; }};
data = {{ train = "{top}/pairs.h5"; task = "seq2seq"; order = "sequential";
  source_length = {SOURCE}; target_length = {TARGET}; }};
train = {{ steps = {STEPS}; batch = {BATCH}; microbatch = 8;
  precision = "{precision}"; recompute = false;
  optimizer = {{ lr = {LR}; weight_decay = 0.0; clip = 1.0; }};
  schedule = {{ name = "constant"; warmup = {WARMUP}; }}; }};
restart = {{ every_steps = 0; }};
log = {{ tensorboard = false; }};
""")
    run("ztrain", f"{top}/run.cfg", "--restart", "none")
    with open(f"{top}/{precision}/metrics.jsonl") as f:
        lines = [json.loads(line) for line in f]
    return [line["loss"] for line in lines if line["t"] == "train"]


def theirs(model, pairs, low):
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, step / WARMUP)
        chosen = pairs[step * BATCH:(step + 1) * BATCH]
        source, target = (torch.tensor(part) for part in zip(*chosen))
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            loss = model(input_ids=source, labels=target, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


# ---- Judgement ----

def means(losses):
    return [sum(losses[i:i + EACH]) / EACH for i in range(0, STEPS, EACH)]


def apart(a, b):
    """Largest distance of means, as a share."""
    return max(abs(x - y) / y for x, y in zip(a, b, strict=True))


def check(name, more, pairs):
    torch.manual_seed(int(os.environ.get("SEED", len(name))))
    model = tf.T5ForConditionalGeneration(tf.T5Config(**{**dict(
        vocab_size=SIZE, d_model=128, d_kv=32, d_ff=384, num_layers=3,
        num_decoder_layers=3, num_heads=4, dropout_rate=0,
        decoder_start_token_id=0), **more})).train()
    if not more.get("tie_word_embeddings", True):  # else losses begin at 20
        model.lm_head.weight.data.mul_(model.config.d_model ** -0.5)
    model.save_pretrained(f"{top}/model")
    run("ztconv", "import", "--force", f"{top}/model", f"{top}/weights.h5")
    start = {k: v.clone() for k, v in model.state_dict().items()}
    got = {}
    for precision, low in ("fp32", False), ("bf16", True):
        subprocess.run(["rm", "-rf", f"{top}/{precision}"], check=True)
        got["our", precision] = means(ours(precision))
        model.load_state_dict(start)
        got["their", precision] = means(theirs(model, pairs, low))
    for key, values in got.items():
        print(f"  {' '.join(key):10s}", *(f"{v:.5f}" for v in values))
    reference = got["their", "fp32"]
    same = apart(got["our", "fp32"], reference)
    own = apart(got["our", "bf16"], got["our", "fp32"])
    mine = apart(got["our", "bf16"], reference)
    autocast = apart(got["their", "bf16"], reference)
    print(f"{name}: worst mean of {EACH} losses: fp32 {100 * same:.4f} % from "
          f"Transformers' fp32, bf16 {100 * own:.3f} % from our fp32, "
          f"{100 * mine:.3f} % from Transformers' fp32 (autocast: "
          f"{100 * autocast:.3f} %)", flush=True)
    assert got["our", "fp32"][-1] < 0.7 * got["our", "fp32"][0], "learns nothing"
    first = abs(got["our", "bf16"][0] / reference[0] - 1)
    return own, mine, autocast, first


text = english()
if not text:
    print("skip: no English text in /usr/share")
    sys.exit(77)
pairs = write_inputs(text)
results = [check(name, more, pairs) for name, more in MODELS.items()]
own, mine, autocast, first = zip(*results, strict=True)
print(f"{len(results)} models: bf16 within {100 * max(own):.3f} % of our fp32, "
      f"{100 * max(mine):.3f} % of Transformers' fp32; on average "
      f"{100 * sum(mine) / len(mine):.3f} % (autocast: "
      f"{100 * sum(autocast) / len(autocast):.3f} %); the first mean within "
      f"{100 * max(first):.4f} %")
sys.exit(not (max(own + mine) <= 0.01 and max(first) <= 0.00015))
