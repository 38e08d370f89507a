# SPDX-License-Identifier: BSD-3-Clause
"""Cross-check of ztconv with the packages that models come from.

    crosscheck_convert.py BUILD_DIR EMPTY_DIR
"""
import ctypes
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import MT5Config, MT5ForConditionalGeneration
from transformers import T5Config, T5ForConditionalGeneration

build, top = sys.argv[1:3]
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
GOLDEN = 0x9E3779B97F4A7C15
WORD = (1 << 64) - 1


def run(*command, ranks=1):
    start = ["mpiexec", "-n", str(ranks)] if ranks > 1 else []
    done = subprocess.run(start + [os.path.join(build, command[0]),
                                   *command[1:]],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (command, done.returncode, done.stderr)
    return done.stdout


XXHASH = ctypes.CDLL("libxxhash.so.0")
XXHASH.XXH3_64bits.restype = ctypes.c_uint64
XXHASH.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def mix(x):
    with np.errstate(over="ignore"):
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return x


def digest(tensors):
    """tensors: canonical name -> torch tensor, tied ones once."""
    total = 0
    for name, tensor in tensors.items():
        shape = ",".join(map(str, tensor.shape))
        text = f"parameters/{name}[{shape}]".encode()
        key = XXHASH.XXH3_64bits(text, len(text))
        bits = tensor.float().contiguous().numpy().reshape(-1).view(np.uint32)
        with np.errstate(over="ignore"):
            i = np.arange(bits.size, dtype=np.uint64) * np.uint64(GOLDEN)
            h = mix((i + np.uint64(key)) ^ bits.astype(np.uint64))
            total += key + int(h.sum(dtype=np.uint64))
    return f"{total & WORD:016x}"


# ---- Models ----

ODD = dict(vocab_size=131, d_model=24, d_kv=5, num_heads=3, d_ff=40,
           num_layers=2, num_decoder_layers=3,
           relative_attention_num_buckets=12,
           relative_attention_max_distance=40)


def write(name, model, **options):
    path = os.path.join(top, name)
    model.save_pretrained(path, **options)
    with open(os.path.join(path, "README.md"), "w") as f:
        f.write("# a model\n" * 3)
    open(os.path.join(path, "empty.txt"), "w").close()
    os.symlink("README.md", os.path.join(path, "LICENSE"))
    return path


def tensors_of(path):
    found = {}
    for name in sorted(os.listdir(path)):
        if name.endswith(".safetensors"):
            found.update(load_file(os.path.join(path, name)))
    return found


def same(a, b):
    assert sorted(a) == sorted(b), sorted(set(a) ^ set(b))
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].shape == b[name].shape, name
        assert torch.equal(a[name].view(torch.uint8) if a[name].dim() else
                           a[name], b[name].view(torch.uint8)), name


def check(name, path, cls, ranks=1, canonical=None):
    """Import, look with h5py, export, load with Transformers."""
    source = tensors_of(path)
    weights, out = os.path.join(top, name + ".h5"), path + "-out"
    run("ztconv", "import", path, weights, ranks=ranks)
    with h5py.File(weights, "r") as f:
        group = f["parameters"]
        assert sorted(group) == sorted(source)
        for key in source:
            if source[key].dtype != torch.bfloat16:
                assert np.array_equal(group[key][...],
                                      source[key].numpy()), key
        for key in f["config"]:
            with open(os.path.join(path, key), "rb") as plain:
                assert f["config"][key][...].tobytes() == plain.read(), key
        stored = f.attrs["digest"].decode()
    want = digest(canonical if canonical is not None else source)
    assert stored == want, (name, stored, want)
    assert run("ztinfo", "digest", weights, ranks=ranks).strip() == want
    run("ztconv", "export", weights, out, ranks=ranks)
    same(source, tensors_of(out))
    for key in ("config.json", "README.md", "LICENSE", "empty.txt"):
        with open(os.path.join(path, key), "rb") as a, \
                open(os.path.join(out, key), "rb") as b:
            assert a.read() == b.read(), key
    before, after = cls.from_pretrained(path), cls.from_pretrained(out)
    same(before.state_dict(), after.state_dict())
    print(name, len(source), "tensors")
    return weights


torch.manual_seed(3)
tied = T5ForConditionalGeneration(T5Config(**ODD))
path = write("tied", tied)
weights = check("tied", path, T5ForConditionalGeneration)
with open(path + "/model.safetensors", "rb") as a, \
        open(path + "-out/model.safetensors", "rb") as b:
    assert a.read() == b.read(), "not the bytes that Transformers wrote"

# Shards, both ways, and their index.
shards = write("shards", tied, max_shard_size="20KB")
assert len([n for n in os.listdir(shards) if n.startswith("model-")]) > 3
check("shards", shards, T5ForConditionalGeneration, ranks=3)
for ranks in (1, 2):
    out = os.path.join(top, f"cut{ranks}")
    run("ztconv", "export", "--max-shard-size", "20KB", weights, out,
        ranks=ranks)
    same(tensors_of(path), tensors_of(out))
    with open(out + "/model.safetensors.index.json") as f:
        index = json.load(f)
    assert index["metadata"]["total_size"] == sum(
        t.numel() * t.element_size() for t in tensors_of(out).values())
    for key, file in index["weight_map"].items():
        with safe_open(os.path.join(out, file), "pt") as f:
            assert key in f.keys()
    same(tied.state_dict(),
         T5ForConditionalGeneration.from_pretrained(out).state_dict())

# Number formats: stored so, and asked for at export.
for dtype, short in ((torch.bfloat16, "bf16"), (torch.float16, "fp16")):
    half = T5ForConditionalGeneration(T5Config(**ODD)).to(dtype)
    narrow = check(short, write(short, half), T5ForConditionalGeneration)
    out = os.path.join(top, short + "-cast")
    run("ztconv", "export", "--dtype", short, weights, out, ranks=2)
    for key, value in tensors_of(out).items():
        assert torch.equal(value, tensors_of(path)[key].to(dtype)), key
    with open(out + "/config.json") as a, open(path + "/config.json") as b:
        changed, config = json.load(a), json.load(b)
    assert changed.pop("dtype") == str(dtype).split(".")[1]
    assert config.pop("dtype") == "float32" and changed == config
    loaded = T5ForConditionalGeneration.from_pretrained(out, dtype="auto")
    assert loaded.dtype == dtype
    run("ztconv", "export", "--dtype", "fp32", narrow, out + "-back")
    for key, value in tensors_of(out + "-back").items():
        assert torch.equal(value, half.state_dict()[key].float()), key

# Formats mixed in one file.
mixed = write("mixed", tied)
state = {k: v.to(torch.bfloat16) if "decoder" in k else
         v.half() if "encoder" in k else v
         for k, v in load_file(mixed + "/model.safetensors").items()}
save_file(state, mixed + "/model.safetensors", {"format": "pt"})
check("mixed", mixed, T5ForConditionalGeneration, ranks=2)

# mT5 (gated); v1.1 untied by its tensors, whatever the configuration says.
mt5 = MT5ForConditionalGeneration(MT5Config(**ODD))
check("mt5", write("mt5", mt5), MT5ForConditionalGeneration)
untied = write("untied", T5ForConditionalGeneration(
    T5Config(**ODD, feed_forward_proj="gated-gelu",
             tie_word_embeddings=False)))
state = load_file(untied + "/model.safetensors")
state["lm_head.weight"] = torch.randn(131, 24)
save_file(state, untied + "/model.safetensors", {"format": "pt"})
check("untied", untied, T5ForConditionalGeneration, ranks=2)
assert "not tied" in run("ztinfo", "show", os.path.join(top, "untied.h5"))

# Old files hold the same matrix under several names, and one that is ignored.
old = write("old", tied)
state = load_file(old + "/model.safetensors")
once = dict(state)
for key in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
            "lm_head.weight"):
    state[key] = state["shared.weight"].clone()
save_file(state, old + "/model.safetensors", {"format": "pt"})
check("old", old, T5ForConditionalGeneration, ranks=3, canonical=once)
with h5py.File(os.path.join(top, "old.h5"), "r") as f:
    assert f["parameters/shared.weight"] == f["parameters/lm_head.weight"]

# Random weights have the deviations that Transformers gives them.
config = os.path.join(top, "tied", "config.json")
for ranks in (1, 3):
    run("ztconv", "init", "--seed", "5", config,
        os.path.join(top, f"init{ranks}.h5"), ranks=ranks)
with open(os.path.join(top, "init1.h5"), "rb") as a, \
        open(os.path.join(top, "init3.h5"), "rb") as b:
    assert a.read() == b.read()
run("ztconv", "export", os.path.join(top, "init1.h5"),
    os.path.join(top, "init-out"))
model = T5ForConditionalGeneration.from_pretrained(os.path.join(top,
                                                                "init-out"))
reference = [T5ForConditionalGeneration(T5Config(**ODD)) for _ in range(8)]
for key, value in model.state_dict().items():
    other = torch.stack([r.state_dict()[key] for r in reference])
    if value.numel() > 100:
        ratio = (value.std() / other.std()).item()
        assert abs(ratio - 1) < 4 / value.numel() ** 0.5, (key, ratio)
        assert abs(value.mean() / other.std()) < 4 / value.numel() ** 0.5, key
    else:
        assert value.dim() != 1 or torch.equal(value, other[0]), key
print("random weights are distributed as Transformers'")
