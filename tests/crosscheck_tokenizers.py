# SPDX-License-Identifier: BSD-3-Clause
"""ztconv tokens beside the Python package tokenizers, on text of all sorts.

    crosscheck_tokenizers.py BUILD_DIR EMPTY_DIR MEGABYTES

The rules of GPT-2, Llama 3, Qwen and SmolLM over one vocabulary, which is
trained on a part of the text.  Prints for each whether all ids are equal, and
the ratio of the times on one thread.
"""
import glob
import os
import random
import re
import subprocess
import sys
import time
import unicodedata

import h5py
import numpy as np
from tokenizers import (AddedToken, Tokenizer, models, normalizers,
                        pre_tokenizers, trainers)

from tokenizer_kinds import KINDS

build, top, size = sys.argv[1], sys.argv[2], int(float(sys.argv[3]) * 1e6)
os.environ["TOKENIZERS_PARALLELISM"] = "false"
SCRIPTS = ((0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x5ff),
           (0x600, 0x6ff), (0x900, 0xdff), (0x3040, 0x30ff), (0x4e00, 0x9fff),
           (0xac00, 0xd7a3), (0x1f300, 0x1f6ff), (0x2000, 0x206f))
ODD = ("😀👩‍👩‍👧‍👦🇩🇪 naïve café e\u0301 Ａ ﬁ \u180ex \u0085 \u2028 ½ ² ٣ "
       "漢字かな交じり文。\n\n\n   Привет, мир!  It's  we'LL  don’t ſ'ſ\t\t\r\n"
       "<|im_start|>user\n<|im_end|><|im_sta <|endoftext|>가나다 שלום नमस्ते")


def known(c):
    """Marks that the old tables of the package's normalizer lack too would be
    put in another order by form C."""
    kind = unicodedata.category(c)
    if kind.startswith("M"):
        return unicodedata.ucd_3_2_0.category(c) == kind
    return kind not in ("Cn", "Cs")


def scripts(n):
    chars = (chr(random.randint(*random.choice(SCRIPTS))) for _ in range(n))
    return "".join(c for c in chars if known(c)).encode()


def make_text():
    """Documents and code of this machine, between what is made up."""
    random.seed(1)
    files = [f for pattern in ("/usr/share/common-licenses/*",
                               "/usr/share/doc/*/copyright",
                               "/usr/include/**/*.h",
                               os.path.dirname(os.__file__) + "/**/*.py")
             for f in glob.glob(pattern, recursive=True) if os.path.isfile(f)]
    random.shuffle(files)
    made = [scripts(60000), bytes(random.randrange(256) for _ in range(50000)),
            ODD.encode() * 30, b" " * 5000 + b"x" + b"\n" * 3000, b"a" * 30000]
    parts, total = [], 0
    for i in range(10 ** 6):
        path = files[i % len(files)]
        with open(path, "rb") as f:
            part = f.read(100000)
        if i % 20 == 0:
            part = made[i // 20 % len(made)]
        parts.append(part)
        total += len(part)
        if total > size:
            break
    return b"\n".join(parts)


def train(text):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = KINDS["gpt2"]
    tokenizer.train_from_iterator([text[:2000000]], trainers.BpeTrainer(
        vocab_size=6000, show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.save("base.json")
    with open("base.json", encoding="utf-8") as f:
        return f.read()


def of_kind(kind, base):
    tokenizer = Tokenizer.from_str(base)
    tokenizer.pre_tokenizer = KINDS[kind]
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    if kind == "qwen":
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.add_tokens([AddedToken("<|im", normalized=False)])
    tokenizer.save("tokenizer.json")
    return tokenizer


def ours():
    done = subprocess.run(
        [os.path.join(build, "ztconv"), "tokens", "o.h5", "--force",
         "--tokenizer", "tokenizer.json", "--bos", "-1", "text"],
        capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.exit(done.stderr)
    with h5py.File("o.h5") as f:
        ids = f["tokens"][:-1].astype(np.int64)
    return ids, float(re.search(r"in ([0-9.]+) s", done.stderr)[1])


os.chdir(top)
raw = make_text()
with open("text", "wb") as f:
    f.write(raw)
text = raw.decode("utf-8", "replace")
base = train(text)
failures = 0
for kind in KINDS:
    tokenizer = of_kind(kind, base)
    began = time.perf_counter()
    want = np.array(tokenizer.encode(text, add_special_tokens=False).ids)
    theirs = time.perf_counter() - began
    got, seconds = ours()
    equal = len(got) == len(want) and bool((got == want).all())
    failures += not equal
    print(f"{kind}: {len(raw) / 1e6:.1f} MB, {len(want)} ids, "
          f"{'equal' if equal else 'DIFFERENT'}; {len(raw) / 1e6 / seconds:.1f}"
          f" MB/s, x {theirs / seconds:.2f} of tokenizers", flush=True)
    if not equal:
        n = min(len(got), len(want))
        i = int(np.argmax(got[:n] != want[:n]))
        near = slice(max(i - 5, 0), i + 5)
        print([[tokenizer.id_to_token(int(x)) for x in side[near]]
               for side in (want, got)])
print(f"tokenizers: {len(KINDS)} kinds of {len(raw) / 1e6:.1f} MB, {failures} "
      "failures")
sys.exit(failures > 0)
