#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2154
# Data for fine-tuning: prompts with completions, conversations, the ids that
# texts begin and end with, what ztinfo shows of it, and a run on it.
. "$ZT_SRC/tests/lib.sh"

# bad CODE TEXT ARGUMENT...: of ztconv tokens x.h5; one message with the text.
bad() {
  wanted=$1 text=$2
  shift 2
  cases=$((cases + 1))
  on 1 ztconv tokens x.h5 "$@"
  [ "$code" -eq "$wanted" ] || fail "$*: code $code, not $wanted: $(cat err)"
  grep -qF -- "$text" err || fail "$*: no '$text' in: $(cat err)"
  [ "$(wc -l <err)" -eq 1 ] || fail "$*: not one line: $(cat err)"
  [ "$(wc -c <err)" -le 208 ] || fail "$*: too long: $(cat err)"
  [ ! -e x.h5 ] || fail "$*: leaves a file"
}

# shows TEXT TOKENIZER FILE ARGUMENT...: what ztinfo says of its samples.
shows() {
  text=$1
  shift
  good 1 ztinfo show --sample 9 --tokenizer "$@"
  grep -qF -- "$text" out || fail "$*: no '$text' in: $(cat out)"
}

# ids FILE TOKENIZER: those of its samples, a line each.
ids() {
  good 1 ztinfo show --json --sample 9 --tokenizer "$2" "$1"
  sed -n '/"sample"/{s/"text": "[^"]*"//g;s/.*"parts"//;s/[^0-9 ]//g;p;}' out |
    tr -s ' '
}

# ---- Prompts ----

cat >pairs.jsonl <<'END'
{"prompt": "ab", "completion": "xyz"}
{"prompt": "", "completion": "no"}
{"prompt": [70, 71], "completion": [90]}
END
good 1 ztconv tokens pairs.h5 --tokenizer bytes pairs.jsonl
shows 'sample 0: 6 tokens, 4 learnt' bytes pairs.h5
grep -qF '  read   "ab"' out || fail "not the prompt: $(cat out)"
grep -qF '  learnt "xyz<1>"' out || fail "not the completion: $(cat out)"
grep -qF 'sample 2: 3 tokens, 1 learnt' out || fail "not the ids: $(cat out)"
good 1 ztconv tokens begun.h5 --bos 2 --tokenizer bytes pairs.jsonl
shows 'read   "<2>ab"' bytes begun.h5
printf '{"text": "ab"}\n' >text.jsonl
good 1 ztconv tokens text.h5 --bos 2 --tokenizer bytes text.jsonl
shows 'learnt "<2>ab<1>"' bytes text.h5
good 1 ztinfo show --sample 2 text.h5 # the file says which tokenizer
grep -qF 'learnt "<2>ab<1>"' out || fail "not by itself: $(cat out)"
printf '{"prompt": "a", "completion": []}\n' >x.jsonl
bad 65 'x.jsonl:1: "completion" is empty' --tokenizer bytes x.jsonl
printf '{"prompt": "a"}\n' >x.jsonl
bad 65 '"prompt" with "completion"' --tokenizer bytes x.jsonl
bad 65 'text.jsonl:1: a document, but pairs came before' --tokenizer bytes \
  pairs.jsonl text.jsonl
bad 64 '--bos' --bos 999 --tokenizer bytes text.jsonl

# ---- Begin ids ----

mkdir marked named
processors='{"type": "ByteLevel"}, {"type": "TemplateProcessing", "single": \
[{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A"}}]}'
sed 's/"post_processor": *null/"post_processor": {"type": "Sequence", '"\
\"processors\": [$processors]}/" "$golden/tokenizer/llama3.json" \
  >marked/tokenizer.json
cp "$golden/tokenizer/llama3.json" named/tokenizer.json
cat >named/tokenizer_config.json <<'END'
{"add_bos_token": true, "bos_token": {"content": "<|im_start|>"},
 "eos_token": "<|im_end|>"}
END
for kind in marked named; do
  good 1 ztconv tokens $kind.h5 --tokenizer $kind/tokenizer.json text.jsonl
  ids $kind.h5 $kind/tokenizer.json >$kind.ids
  good 1 ztconv tokens bare.h5 --force --tokenizer $kind/tokenizer.json --bos -1 \
    text.jsonl
  ids bare.h5 $kind/tokenizer.json >bare.ids
  [ "$(wc -w <$kind.ids)" -eq $(($(wc -w <bare.ids) + 1)) ] ||
    fail "$kind: no begin id: $(cat $kind.ids)"
done

# ---- Conversations ----

cat >chat.jsonl <<'END'
{"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "work?\n"}, {"role": "assistant", "content": "the work"}, {"role": "user", "content": "so"}, {"role": "assistant", "content": " of it"}]}
{"messages": [{"role": "assistant", "content": ""}]}
END
smollm=$golden/tokenizer/smollm.json
good 1 ztconv tokens chat.h5 --tokenizer "$smollm" chat.jsonl
shows 'mask:       tells' "$smollm" chat.h5
good 2 ztconv verify --deep chat.h5
good 1 ztinfo show --json --sample 9 --tokenizer "$smollm" chat.h5
grep -o '"learnt": [a-z]*\|"text": "[^"]*"' out | sed 's/<[0-9]*>/<>/g' >parts
cat >wanted <<'END'
"learnt": false
"text": "<>system\nbe kind<>\n<>user\nwork?\n<>\n<>assistant\n"
"learnt": true
"text": "the work<>"
"learnt": false
"text": "\n<>user\nso<>\n<>assistant\n"
"learnt": true
"text": " of it<>"
"learnt": false
"text": "\n"
"learnt": false
"text": "<>assistant\n"
"learnt": true
"text": "<>"
"learnt": false
"text": "\n"
END
cmp parts wanted || fail "other parts: $(cat parts)"
# Rendered outside and encoded as one text: the same ids, but for the end id.
cat >plain.jsonl <<'END'
{"text": "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nwork?\n<|im_end|>\n<|im_start|>assistant\nthe work<|im_end|>\n<|im_start|>user\nso<|im_end|>\n<|im_start|>assistant\n of it<|im_end|>\n"}
END
good 1 ztconv tokens plain.h5 --tokenizer "$smollm" --eos 0 plain.jsonl
ids chat.h5 "$smollm" | head -n 1 | tr -d '\n' >chat.ids
ids plain.h5 "$smollm" | sed 's/ 0 *$//' | tr -d '\n' >plain.ids
[ "$(tr -d ' ' <chat.ids)" = "$(tr -d ' ' <plain.ids)" ] ||
  fail "another rendering: $(cat chat.ids) and $(cat plain.ids)"

# Llama 3's marks in place of others.
sed 's/<|endoftext|>/<|begin_of_text|>/g; s/<|im_start|>/<|start_header_id|>/g
     s/<|im_end|>/<|end_header_id|>/g' "$golden/tokenizer/llama3.json" |
  sed 's/"added_tokens": *\[/&{"id": 500, "content": "<|eot_id|>", '"\
\"normalized\": false, \"special\": true},/" >llama.json
good 1 ztconv tokens llama.h5 --tokenizer llama.json --eos 500 chat.jsonl
good 1 ztinfo show --json --sample 1 --tokenizer llama.json llama.h5
grep -o '"text": "[^"]*"' out | sed 's/<[0-9]*>/<>/g' >parts
cat >wanted <<'END'
"text": "<><>system<>\n\nbe kind<><>user<>\n\nwork?<><>assistant<>\n\n"
"text": "the work<>"
"text": "<>user<>\n\nso<><>assistant<>\n\n"
"text": "of it<>"
END
cmp parts wanted || fail "Llama 3: other parts: $(cat parts)"
bad 64 'the tokenizer lacks the marks of chatml' --tokenizer llama.json \
  --eos 500 --template chatml chat.jsonl
bad 64 'apply_chat_template' --tokenizer bytes chat.jsonl
bad 64 '--template vicuna: chatml and llama3 are known' --tokenizer bytes \
  --template vicuna chat.jsonl
echo '{"messages": [{"role": "user", "content": "a"}]}' >x.jsonl
bad 65 'nothing to learn' --tokenizer "$smollm" x.jsonl
echo '{"messages": [{"role": "user", "content": null}]}' >x.jsonl
bad 65 'x.jsonl:1: messages[0]: "content" is no text' --tokenizer "$smollm" \
  x.jsonl
echo '{"messages": [{"content": "a"}]}' >x.jsonl
bad 65 'messages[0]: no "role"' --tokenizer "$smollm" x.jsonl
bad 65 'a document, but conversations came before' --tokenizer "$smollm" \
  chat.jsonl text.jsonl

# ---- A run ----

good 1 ztconv import "$golden/llamatiny" llama-weights.h5
cat >run.cfg <<'END'
run = { dir = "run"; };
model = { weights = "llama-weights.h5"; };
data = { train = "chat.h5"; task = "causal"; length = 128; };
train = { steps = 3; batch = 2; microbatch = 1; };
log = { tensorboard = false; };
END
good 2 ztrain run.cfg
learnt=$(ztinfo show --sample 9 --tokenizer "$smollm" chat.h5 |
  sed -n 's/.*tokens, \([0-9]*\) learnt/\1/p' | awk '{n += $1} END {print 2 * n}')
grep -q "\"targets\": $learnt," run/metrics.jsonl ||
  fail "not $learnt targets: $(cat run/metrics.jsonl)"

# ---- A prompt begins as the texts did ----

t=marked/tokenizer.json
good 1 ztgen run --tokenizer $t --prompt ab --max-new-tokens 4 --json
cp out prompted
good 1 ztgen run --tokenizer $t --max-new-tokens 4 --json \
  --tokens "$(sed 's/ [0-9]* *$//' marked.ids)"
cmp out prompted || fail "a prompt without its begin id: $(cat prompted out)"

finish 'cases of fine-tuning'
