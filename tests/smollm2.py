# SPDX-License-Identifier: BSD-3-Clause
"""SmolLM2-135M-Instruct through the whole path, beside Transformers.

    smollm2.py FILE.gguf BUILD_DIR EMPTY_DIR STEPS TEXT...

Import, loss on English text, greedy tokens, STEPS steps of fine-tuning (killed
on 2 ranks, finished on 3) with the loss curve of a PyTorch loop on the same
batches, export.  Prints each figure with its bound.
"""
import json
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import torch
import transformers as tf

gguf, build, top = map(os.path.abspath, sys.argv[1:4])
steps = int(sys.argv[4])
texts = list(map(os.path.abspath, sys.argv[5:]))
tf.logging.set_verbosity_error()
tf.logging.disable_progress_bar()
os.chdir(top)
LENGTH, BATCH, LR, WARMUP = 64, 4, 2e-5, 10
SAMPLES, NEW = 16, 32  # of the loss before training; tokens generated
PROMPTS = [
    "The capital of France is",
    "Water boils at a temperature of",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n",
    "<|im_start|>user\nName three primary colours.<|im_end|>\n"
    "<|im_start|>assistant\n",
]
failures = 0


def say(what, value, bound):
    global failures
    good = value <= bound
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {what}: {value:.3g} (at most {bound:g})",
          flush=True)


def zt(*command, ranks=1):
    start = ["mpiexec", "-n", str(ranks)] if ranks > 1 else []
    done = subprocess.run(start + [os.path.join(build, command[0]),
                                   *command[1:]],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: code {done.returncode}: {done.stderr}")
    return done.stdout


def metrics(run):
    with open(f"{run}/metrics.jsonl") as f:
        return [line for line in map(json.loads, f) if line["t"] == "train"]


def load(path):
    return tf.LlamaForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def windows(first, n):
    """Samples in the order of the file, as ztrain takes them."""
    ids = tokens[first * LENGTH:(first + n) * LENGTH].astype(np.int64)
    return torch.from_numpy(ids.reshape(n, LENGTH))


def configure(run, weights, steps, batch, lr, warmup):
    with open(f"{run}.cfg", "w") as f:
        f.write(f"""
run = {{ dir = "{run}"; watchdog_seconds = 0; }};
model = {{ weights = "{weights}"; }};
data = {{ train = "tokens.h5"; task = "causal"; length = {LENGTH};
         order = "sequential"; }};
train = {{ steps = {steps}; batch = {batch}; microbatch = 2; recompute = false;
          optimizer = {{ lr = {lr!r}; weight_decay = 0.01; }};
          schedule = {{ name = "constant"; warmup = {warmup}; }}; }};
restart = {{ every_steps = 25; keep = 1; }};
log = {{ every_steps = 10; tensorboard = false; }};
""")


# ---- The model as Hugging Face keeps it ----

def convert():
    where, name = os.path.split(gguf)
    got = tf.AutoModelForCausalLM.from_pretrained(where, gguf_file=name,
                                                  dtype=torch.float32)
    config = got.config.to_dict()
    for key in "quantization_config", "architectures", "model_type", "dtype":
        config.pop(key, None)
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**config))
    model.load_state_dict(got.state_dict())
    model.save_pretrained("hf")
    tokenizer = tf.AutoTokenizer.from_pretrained(where, gguf_file=name)
    tokenizer.save_pretrained("hf")
    return tokenizer


def check_tokens(tokenizer):
    with open("text", "wb") as out:
        for path in texts:
            with open(path, "rb") as f:
                out.write(f.read())
    zt("ztconv", "tokens", "tokens.h5", "--tokenizer", "hf/tokenizer.json",
       "text")
    with h5py.File("tokens.h5") as f:
        ours = f["tokens"][:]
    with open("text", encoding="utf-8", errors="replace") as f:
        theirs = tokenizer(f.read(), add_special_tokens=False)["input_ids"]
    say(f"tokens of {len(ours)} that differ from Transformers'",
        int(list(ours[:-1]) != theirs), 0)
    return ours


# ---- Loss and text before training ----

def loss_of(model, ids):
    with torch.no_grad():
        return model(input_ids=ids, labels=ids, use_cache=False).loss.item()


def check_loss(model, weights, name):
    configure(name, weights, 1, SAMPLES, 0.0, 0)
    zt("ztrain", f"{name}.cfg", "-s", "restart.every_steps=0")
    want, got = loss_of(model, windows(0, SAMPLES)), metrics(name)[0]["loss"]
    say(f"loss on {SAMPLES * LENGTH} tokens of English, {got:.6f}, and "
        f"Transformers' {want:.6f}", abs(got - want), 1e-4)


def check_greedy(model, tokenizer, source, what):
    with open("prompts.jsonl", "w") as f:
        for prompt in PROMPTS:
            ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            f.write(json.dumps({"tokens": ids}) + "\n")
    got = zt("ztgen", source, "--input", "prompts.jsonl", "--max-new-tokens",
             str(NEW), "--json")
    different = 0
    for prompt, line in zip(PROMPTS, got.splitlines()):
        ids = tokenizer(prompt, add_special_tokens=False,
                        return_tensors="pt")["input_ids"]
        want = model.generate(ids, attention_mask=torch.ones_like(ids),
                              max_new_tokens=NEW, do_sample=False)
        want = want[0, ids.shape[1]:].tolist()
        different += json.loads(line)["tokens"] != want
        print("     ", repr(tokenizer.decode(want))[:70], flush=True)
    say(f"{what}: prompts of {len(PROMPTS)} whose {NEW} greedy tokens differ",
        different, 0)


# ---- Fine-tuning ----

def train_torch(model):
    """Weight decay as ztrain and Hugging Face's Trainer have it."""
    model.train()
    kinds = [[], []]
    for p in model.parameters():
        kinds[p.ndim > 1].append(p)
    optimizer = torch.optim.AdamW(
        [dict(params=kinds[0], weight_decay=0.0),
         dict(params=kinds[1], weight_decay=0.01)], lr=LR)
    curve, n = [], len(tokens) // LENGTH
    began = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, step / WARMUP)
        rows = [windows((step * BATCH + i) % n, 1) for i in range(BATCH)]
        ids = torch.cat(rows)
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        curve.append(loss.item())
    seconds = (time.monotonic() - began) / steps
    print(f"      PyTorch: {seconds:.2f} s a step", flush=True)
    return curve


def train_zt():
    """Killed in the middle of a step on 2 ranks, finished on 3."""
    configure("tune", "weights.h5", steps, BATCH, LR, WARMUP)
    command = [os.path.join(build, "ztrain"), "tune.cfg"]
    with open("killed.log", "w") as log:
        job = subprocess.Popen(["mpiexec", "-n", "2", *command], stderr=log,
                               start_new_session=True)
        while job.poll() is None:
            if (os.path.exists("tune/metrics.jsonl") and
                    len(metrics("tune")) >= steps // 2):
                os.killpg(job.pid, signal.SIGKILL)
                job.wait()
            time.sleep(0.5)
    killed = len(metrics("tune"))
    zt("ztrain", "tune.cfg", ranks=3)
    lines = metrics("tune")
    seconds = sorted(line["seconds"] for line in lines[:killed - 1])
    print(f"      ztrain: {seconds[len(seconds) // 2]:.2f} s a step on 2 ranks; "
          f"killed after step {killed}, finished on 3 ranks", flush=True)
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    return [line["loss"] for line in lines]


def check_export(model):
    zt("ztconv", "export", "tune", "tuned")
    exported = load("tuned")
    ids = windows(0, 4)
    with torch.no_grad():
        want = model.eval()(input_ids=ids).logits
        got = exported(input_ids=ids).logits
    say("logits after training and export, largest difference to the PyTorch "
        f"loop's, of {want.abs().max():.1f}",
        ((want - got).abs().max() / want.abs().max()).item(), 1e-4)
    return exported


tokenizer = convert()
zt("ztconv", "import", "hf", "weights.h5")
tokens = check_tokens(tokenizer)
model = load("hf")
check_loss(model, "weights.h5", "before")
check_greedy(model, tokenizer, "weights.h5", "before training")
ours = train_zt()
theirs = train_torch(model)
with open("curves.json", "w") as f:
    json.dump(dict(ztrain=ours, torch=theirs), f)
say(f"loss curve of {steps} steps, {ours[0]:.3f} to {ours[-1]:.3f}, largest "
    "difference", max(abs(a - b) for a, b in zip(ours, theirs)), 1e-3)
exported = check_export(model)
check_greedy(exported, tokenizer, "tune", "after training")
zt("ztconv", "import", "tuned", "tuned.h5")
check_loss(exported, "tuned.h5", "after")
print(f"smollm2: {failures} failures")
sys.exit(failures > 0)
