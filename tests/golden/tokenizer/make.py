# SPDX-License-Identifier: BSD-3-Clause
# Makes the tokenizers and ids of this folder with the package tokenizers:
#   make.py OUTDIR        0.23.3 was used
import json
import pathlib
import random
import sys

from tokenizers import (AddedToken, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, trainers)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tokenizer_kinds import KINDS

random.seed(1)
SCRIPTS = ((0x20, 0x7e), (0xa0, 0x24f), (0x370, 0x52f), (0x5d0, 0x5ea),
           (0x620, 0x64a), (0x905, 0x939), (0x3041, 0x3096), (0x4e00, 0x9fff),
           (0xac00, 0xd7a3), (0x1f300, 0x1f6ff))
PIECES = [
    b"It's the licensee's own work: you'LL see, they don\xe2\x80\x99t.",
    b"  two  blanks,   three\tand tabs\t\t\r\n\r\n\n   indented(x[12345]);\n",
    b"1 22 333 4444 55555 3.14159 \xc2\xbd \xd9\xa3\xd9\xa4 1,000,000",
    "naïve café e\u0301 a\u0300\u0301 Å Å ﬁ Ａ ſ'ſ".encode(),
    "漢字かな交じり文。\n\n가나다 Привет, мир! שלום مرحبا नमस्ते".encode(),
    "😀👩‍👩‍👧‍👦🇩🇪 \u180e\u0085\u2028\u200b\u3000x".encode(),
    b"broken \xff\xc3( \xe2\x82 \xf0\x9f\x98 \xed\xa0\x80 \xf8 \xc0\xaf end\xe2",
    b"<|endoftext|>a<|endoftext|> <|end<|im_start|>user\n<|im_end|><|im_sta",
    b"    " * 40 + b"x" + b"\n" * 30 + b"a" * 70 + b"-" * 70,
    "".join(chr(random.randint(*random.choice(SCRIPTS))) + " " * (i % 7 == 0)
            for i in range(300)).encode(),
]


def make(kind, out):
    tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    tokenizer.pre_tokenizer = KINDS[kind]
    tokenizer.decoder = decoders.ByteLevel()
    if kind == "qwen":
        tokenizer.normalizer = normalizers.NFC()
    sample = b" ".join(PIECES[:5]).decode("utf-8", "replace")
    words = "the of and to in is that it for with as this on you be or by "
    tokenizer.train_from_iterator(
        [sample, words * 3, "licensee work software program indented " * 2],
        trainers.BpeTrainer(
            vocab_size=420, min_frequency=1, show_progress=False,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    if kind == "qwen":
        tokenizer.add_tokens([AddedToken("<|im", normalized=False)])
    text = json.loads(tokenizer.to_str())
    (out / f"{kind}.json").write_text(
        json.dumps(text, ensure_ascii=True, separators=(",", ":")) + "\n")
    ids = [tokenizer.encode(p.decode("utf-8", "replace"),
                            add_special_tokens=False).ids for p in PIECES]
    (out / f"{kind}.ids").write_text(
        "".join(" ".join(map(str, i)) + "\n" for i in ids))


out = pathlib.Path(sys.argv[1])
(out / "text.json").write_text(
    json.dumps([list(p) for p in PIECES], separators=(",", ":")) + "\n")
for name in KINDS:
    make(name, out)
