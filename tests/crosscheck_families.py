# SPDX-License-Identifier: BSD-3-Clause
"""Every kind of model that families know, as Transformers makes it: import and
export, losses and gradient norms of training, greedy tokens.

    crosscheck_families.py BUILD_DIR EMPTY_DIR
"""
import json
import os
import random
import subprocess
import sys

import torch
import transformers as tf

build, top = sys.argv[1:3]
tf.logging.set_verbosity_error()
tf.logging.disable_progress_bar()
torch.set_num_threads(1)
VOCABULARY, LENGTH, BATCH, STEPS, NEW = 384, 40, 4, 4, 12
PAIR = 20, 12  # source and target of a sample


def run(*command, ranks=1, code=0):
    start = ["mpiexec", "-n", str(ranks)] if ranks > 1 else []
    done = subprocess.run(
        start + [os.path.join(build, command[0]), *command[1:]],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (command, done.returncode, done.stderr)
    return done.stdout if code == 0 else done.stderr


# ---- Models ----

COMMON = dict(vocab_size=VOCABULARY, hidden_size=48, intermediate_size=80,
              num_hidden_layers=3, num_attention_heads=4, bos_token_id=1,
              eos_token_id=2, initializer_range=0.15)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0,
              low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)


def llama(**more):
    return tf.LlamaForCausalLM(tf.LlamaConfig(**{**COMMON, **more}))


def mistral(**more):
    return tf.MistralForCausalLM(tf.MistralConfig(**{**COMMON, **more}))


def qwen2(**more):
    return tf.Qwen2ForCausalLM(tf.Qwen2Config(**{**COMMON, **more}))


def gpt2(**more):
    sizes = dict(vocab_size=VOCABULARY, n_positions=64, n_embd=48, n_layer=3,
                 n_head=4, initializer_range=0.15, eos_token_id=2,
                 bos_token_id=1, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    return tf.GPT2LMHeadModel(tf.GPT2Config(**{**sizes, **more}))


def t5(make=tf.T5ForConditionalGeneration, config=tf.T5Config, **more):
    sizes = dict(vocab_size=VOCABULARY, d_model=40, d_kv=12, d_ff=64,
                 num_layers=2, num_decoder_layers=3, num_heads=3,
                 dropout_rate=0, decoder_start_token_id=0)
    return make(config(**{**sizes, **more}))


MODELS = {
    "llama, own head": lambda: llama(),
    "llama, tied, key heads": lambda: llama(
        tie_word_embeddings=True, num_key_value_heads=2),
    "llama 3, one key head, head_dim": lambda: llama(
        rope_parameters=LLAMA3, num_key_value_heads=1, head_dim=20),
    "llama, linear rope, pad = eos": lambda: llama(
        rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=4.0),
        pad_token_id=2, eos_token_id=[2, 5]),
    "llama, all biases, gelu": lambda: llama(
        attention_bias=True, mlp_bias=True, hidden_act="gelu",
        num_key_value_heads=2),
    "mistral, window": lambda: mistral(
        num_key_value_heads=2, sliding_window=7),
    "mistral, no window": lambda: mistral(
        num_key_value_heads=2, sliding_window=None, head_dim=16),
    "qwen2": lambda: qwen2(num_key_value_heads=2, tie_word_embeddings=True),
    "qwen2, window from a layer on": lambda: qwen2(
        num_key_value_heads=4, use_sliding_window=True, sliding_window=5,
        max_window_layers=1),
    "gpt2": lambda: gpt2(),
    "gpt2, scaled by layer, inner": lambda: gpt2(
        scale_attn_by_inverse_layer_idx=True, n_inner=72,
        reorder_and_upcast_attn=True),
    "gpt2, unscaled, relu": lambda: gpt2(
        scale_attn_weights=False, activation_function="relu"),
    "flan-t5": lambda: t5(feed_forward_proj="gated-gelu",
                          tie_word_embeddings=False),
    "ul2": lambda: t5(feed_forward_proj="gated-silu",
                      tie_word_embeddings=False),
    "mt5": lambda: t5(tf.MT5ForConditionalGeneration, tf.MT5Config,
                      feed_forward_proj="gated-gelu"),
    "byt5": lambda: t5(feed_forward_proj="gated-gelu", num_layers=3,
                       num_decoder_layers=1, tie_word_embeddings=False),
}


def randomize(model):
    """Biases and norms too, so that each one counts."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:
                p.add_(torch.randn_like(p) * 0.2)
    # Greedy choices must not hang on the last bit.
    return model.eval()


# ---- Data ----

def write_lines(path, lines):
    with open(path, "w") as f:
        for line in lines:
            f.write(json.dumps(line) + "\n")


random.seed(7)
texts = [[random.randrange(3, VOCABULARY) for _ in range(random.randrange(1, 90))]
         for _ in range(40)]
for text in texts[::3]:
    text.append(2)  # an end id, which may be the padding id too
pairs = [dict(source=[random.randrange(3, VOCABULARY)
                      for _ in range(random.randrange(1, 30))],
              target=[random.randrange(3, VOCABULARY)
                      for _ in range(random.randrange(1, 20))])
         for _ in range(BATCH * STEPS)]
write_lines(f"{top}/texts.jsonl", [dict(tokens=t) for t in texts])
write_lines(f"{top}/pairs.jsonl", pairs)
for name in "texts", "pairs":
    run("ztconv", "tokens", f"{top}/{name}.h5", "--vocab", str(VOCABULARY),
        f"{top}/{name}.jsonl")
stream = [t for text in texts for t in text]


def window(step, place):
    at = (step * BATCH + place) * LENGTH
    return stream[at:at + LENGTH]


def batch_of(step, packing):
    """input_ids, labels of decoders."""
    if packing:
        ids = torch.tensor([window(step, i) for i in range(BATCH)])
        return dict(input_ids=ids, labels=ids.clone())
    rows = [texts[step * BATCH + i][:LENGTH] for i in range(BATCH)]
    ids = torch.zeros(BATCH, LENGTH, dtype=torch.long)
    labels = torch.full((BATCH, LENGTH), -100)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = labels[i, :len(row)] = torch.tensor(row)
    return dict(input_ids=ids, labels=labels)


def pairs_of(step):
    source = torch.zeros(BATCH, PAIR[0], dtype=torch.long)
    mask = torch.zeros_like(source)
    labels = torch.full((BATCH, PAIR[1]), -100)
    for i, pair in enumerate(pairs[step * BATCH:(step + 1) * BATCH]):
        s, t = pair["source"][:PAIR[0]], pair["target"][:PAIR[1]]
        source[i, :len(s)] = torch.tensor(s)
        mask[i, :len(s)] = 1
        labels[i, :len(t)] = torch.tensor(t)
    return dict(input_ids=source, attention_mask=mask, labels=labels)


# ---- Checks ----

def check_training(model, weights, encoder, packing):
    """Losses and norms of ztrain on two ranks against a loop of AdamW."""
    out = f"{top}/run"
    data = (f'train = "{top}/pairs.h5"; task = "seq2seq"; '
            f"source_length = {PAIR[0]}; target_length = {PAIR[1]};"
            if encoder else
            f'train = "{top}/texts.h5"; task = "causal"; length = {LENGTH}; '
            f"packing = {str(packing).lower()};")
    with open(f"{top}/run.cfg", "w") as f:
        f.write(f"""run = {{ dir = "{out}"; }};
model = {{ weights = "{weights}"; }};
data = {{ {data} order = "sequential"; }};
train = {{ steps = {STEPS}; batch = {BATCH}; microbatch = 1;
  optimizer = {{ lr = 1e-3; weight_decay = 0.01; decay_on = "all"; }};
  schedule = {{ name = "constant"; warmup = 0; }}; }};
log = {{ tensorboard = false; }};
""")
    run("ztrain", f"{top}/run.cfg", "--restart", "none", ranks=2)
    with open(f"{out}/metrics.jsonl") as f:
        lines = [json.loads(line) for line in f]
    got = [line for line in lines if line["t"] == "train"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3,
                                  weight_decay=0.01)
    worst = [0, 0]
    for step in range(STEPS):
        batch = pairs_of(step) if encoder else batch_of(step, packing)
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for i, (a, b) in enumerate([(got[step]["loss"], loss.item()),
                                    (got[step]["grad_norm"], norm.item())]):
            worst[i] = max(worst[i], abs(a - b) / abs(b))
    assert worst[0] <= 1e-5 and worst[1] <= 2e-5, worst
    subprocess.run(["rm", "-rf", out], check=True)
    return worst


def check_greedy(model, weights, encoder):
    """Prompts of several lengths in one batch, each alone in Transformers."""
    prompts = [[random.randrange(3, VOCABULARY) for _ in range(n)]
               for n in (1, 5, 17, 9, 23)]
    write_lines(f"{top}/prompts.jsonl", [dict(tokens=p) for p in prompts])
    lines = run("ztgen", weights, "--input", f"{top}/prompts.jsonl", "--json",
                "--max-new-tokens", str(NEW), "--batch", "3", ranks=2)
    for prompt, line in zip(prompts, lines.splitlines(), strict=True):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            wanted = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW,
                do_sample=False, use_cache=not encoder)[0].tolist()
        wanted = wanted[1 if encoder else len(prompt):]
        assert json.loads(line)["tokens"] == wanted, (line, wanted)


def check_export(model, weights):
    run("ztconv", "export", weights, f"{top}/again")
    again = type(model).from_pretrained(f"{top}/again")
    for (name, a), (_, b) in zip(model.state_dict().items(),
                                 again.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    subprocess.run(["rm", "-rf", f"{top}/again"], check=True)


def check(name, make):
    torch.manual_seed(len(name))
    model = randomize(make())
    encoder = model.config.is_encoder_decoder
    weights = f"{top}/weights.h5"
    model.save_pretrained(f"{top}/model")
    run("ztconv", "import", "--force", f"{top}/model", weights)
    check_export(model, weights)
    check_greedy(model, weights, encoder)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    for packing in (True,) if encoder else (True, False):
        model.load_state_dict(state)
        worst = check_training(model, weights, encoder, packing)
        print(f"{name}{'' if packing else ', documents'}: losses within "
              f"{worst[0]:.1e}, norms within {worst[1]:.1e}")
    subprocess.run(["rm", "-rf", f"{top}/model"], check=True)


chosen = list(MODELS.items())
if not os.environ.get("ZT_LONG"):
    chosen = chosen[2::4]
for name, make in chosen:
    check(name, make)
print(f"{len(chosen)} models: import, export, training, greedy tokens agree")
