#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# ztconv tokens on several ranks: the file of one rank, byte for byte, from text,
# JSONL, pairs, conversations and what cannot be cut; errors with their lines.
. "$ZT_SRC/tests/lib.sh"
bpe=$golden/tokenizer/smollm.json
others='2 3'
! is_long || others='2 3 5 8'

# Some megabytes: the parts are of one.
cat "$ZT_SRC"/src/*/*.[ch] "$ZT_SRC"/io/*.[ch] "$ZT_SRC"/tests/*.c >source
cat source source >text
printf 'na\303\257ve \377\376 \360\237\230\200\nx' >>text
tr '\n' ' ' <text | head -c 2500000 >one-line
printf 'hello\nworld' >small
: >empty
awk 'function quote(s) {
       gsub(/[\\"\t\r\001-\037]/, " ", s)
       return "\"" s "\""
     }
     { line = quote($0)
       print "{\"text\": " line "}" >"text.jsonl"
       if (NR % 3 == 0) print "{\"prompt\": " line ", \"completion\": \"a\"}" \
         >"pairs.jsonl"
       if (NR % 3 == 1) print "{\"messages\": [{\"role\": \"user\", " \
         "\"content\": " line "}, {\"role\": \"assistant\", \"content\": " \
         "\"so\"}]}" >"chats.jsonl"
       if (NR % 500 == 0) print "" >"text.jsonl"
     }' source
# A line that is longer than several parts.
{
  printf '{"text": "'
  tr '\n"\\\t' '    ' <source
  printf '"}\n'
  head -n 2000 text.jsonl
} >long.jsonl
od -An -v -tu1 -w100 small | sed 's/ \+/, /g; s/^, /{"tokens": [/; s/$/]}/' \
  >ids.jsonl

# same NAME ARGUMENT...: on all numbers of ranks.
same() {
  name=$1
  shift
  good 1 ztconv tokens 1.h5 --force "$@"
  for ranks in $others; do
    good "$ranks" ztconv tokens many.h5 --force "$@"
    cmp 1.h5 many.h5 || fail "$name: another file on $ranks ranks"
    [ "$(wc -l <err)" -eq 1 ] || fail "$name: not one line: $(cat err)"
  done
}
same 'bytes' --tokenizer bytes text small empty one-line text.jsonl small
same 'BPE' --tokenizer "$bpe" small text empty one-line long.jsonl
same 'pairs' --tokenizer "$bpe" pairs.jsonl pairs.jsonl
same 'conversations' --tokenizer "$bpe" chats.jsonl
same 'ids' --vocab 300 ids.jsonl ids.jsonl ids.jsonl
cases=$((cases + 1))
timeout 60 mpiexec -n 3 ztconv tokens many.h5 --force --tokenizer bytes - \
  2>err <small || fail "standard input: $(cat err)"
good 1 ztconv tokens 1.h5 --force --tokenizer bytes small
cmp 1.h5 many.h5 || fail "standard input: another file on 3 ranks"

# refuse CODE TEXT ARGUMENT...: one line on all ranks, and no file.
refuse() {
  wanted=$1 text=$2
  shift 2
  for ranks in $others; do
    cases=$((cases + 1))
    on "$ranks" ztconv tokens wrong.h5 "$@"
    [ $code -eq "$wanted" ] || fail "$*: code $code: $(cat err)"
    grep -q -- "$text" err || fail "$*: no '$text': $(cat err)"
    [ "$(wc -l <err)" -eq 1 ] || fail "$*: not one line: $(cat err)"
    [ -z "$(find . -name 'wrong*')" ] || fail "$*: leaves $(find . -name 'w*')"
  done
}
lines=$(wc -l <text.jsonl)
{
  cat text.jsonl
  echo '{"text": 5}'
  cat text.jsonl
} >bad.jsonl
refuse 65 "bad.jsonl:$((lines + 1)): \"text\" is neither text nor ids" \
  --tokenizer "$bpe" small bad.jsonl
refuse 65 "pairs.jsonl:1: a pair, but documents came before" \
  --tokenizer "$bpe" text.jsonl pairs.jsonl
refuse 66 'nowhere' --tokenizer bytes text nowhere text
refuse 64 'is text; give --tokenizer' --vocab 300 ids.jsonl text
refuse 65 'no documents in it' --tokenizer bytes empty empty
refuse 66 'none.json' --tokenizer none.json text
finish 'files and refusals on several ranks'
