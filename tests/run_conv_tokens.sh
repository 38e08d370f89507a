#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# ztconv tokens: plain text and JSONL into token files; wrong inputs.
dir=$(mktemp -d "$ZT_BUILD/run_conv_tokens.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99
failures=0
conv="$ZT_BUILD/ztconv"

fail() {
  echo "$*"
  failures=$((failures + 1))
}

# good SUMMARY ARGUMENT...: ends well and says so.
good() {
  text=$1
  shift
  timeout 60 "$conv" tokens "$@" >out 2>err || fail "tokens $*: $(cat err)"
  grep -qF -- "$text" err || fail "tokens $*: no '$text' in: $(cat err)"
  [ ! -s out ] || fail "tokens $*: writes to standard output"
}

# bad CODE TEXT ARGUMENT...: one short line, no file left.
bad() {
  code=$1 text=$2
  shift 2
  rm -f x.h5
  timeout 60 "$conv" tokens x.h5 "$@" >out 2>err
  is=$?
  [ $is -eq "$code" ] || fail "tokens $*: code $is, not $code: $(cat err)"
  grep -qF -- "$text" err || fail "tokens $*: no '$text' in: $(cat err)"
  [ "$(wc -l <err)" -eq 1 ] || fail "tokens $*: not one line: $(cat err)"
  [ "$(wc -c <err)" -le 208 ] || fail "tokens $*: too long: $(cat err)"
  [ -z "$(ls -A | grep '^x')" ] || fail "tokens $*: leaves $(ls -A)"
}

# values FILE DATASET VALUES: what lies in it, where h5dump can tell.
values() {
  command -v h5dump >/dev/null || return 0
  found=$(h5dump -d "$2" -w 0 -y "$1" 2>&1 |
    sed -n '/DATA {/,/}/s/^ *\([0-9].*\)/\1/p' | tr -d '\n')
  [ "$found" = "$3" ] || fail "$1 $2: $found, expected $3"
}

# digest FILE
digest() {
  timeout 60 "$ZT_BUILD/ztinfo" show "$1" | sed -n 's/^ *digest: *//p'
}

# ---- What works ----
printf 'Hi\0\377' >a.txt
printf 'yo' >b
good 'a.h5: 2 documents, 8 tokens from 6 bytes' a.h5 --tokenizer bytes a.txt b
values a.h5 /tokens '75, 108, 3, 258, 1, 124, 114, 1'
values a.h5 /documents '0, 5, 8'
printf '{"tokens": [75, 108, 3, 258, 1]}\n{"tokens": [124,114,1], "n": 2}' >a.jsonl
good 'c.h5: 2 documents, 8 tokens' c.h5 --vocab 384 --sentinel 258 a.jsonl
[ -n "$(digest a.h5)" ] && [ "$(digest a.h5)" = "$(digest c.h5)" ] ||
  fail "text and its ids differ: $(digest a.h5) $(digest c.h5)"
printf '\357\273\277{"text": "Hi\\u0000"}\r\n\n  \n{"n": {}, "text": "yo"}' >d.json
good '2 documents, 7 tokens' d.h5 --tokenizer bytes d.json
values d.h5 /tokens '75, 108, 3, 1, 124, 114, 1'
good '2 documents, 7 tokens' d.h5 --force --tokenizer bytes --jsonl - <d.json
good '1 documents, 3 tokens' d.h5 --force --tokenizer bytes - <b
printf '{"text": "a", "body": [9]}\n{"body": "b", "tokens": [3]}\n' >f.jsonl
good '2 documents, 3 tokens' f.h5 --tokenizer bytes --field body f.jsonl
values f.h5 /tokens '9, 101, 1'
printf '{"tokens": 7, "text": "a"}\n{"tokens": [5], "text": "b"}\n' >g.jsonl
good '2 documents, 3 tokens' g.h5 --tokenizer bytes g.jsonl
values g.h5 /tokens '100, 1, 5'
printf '%s\n%s\n' '{"source": "ab", "target": [7, 8]}' \
  '{"target": "", "source": [9], "text2": 0}' >p.jsonl
good 'p.h5: 2 pairs, 4 + 3 tokens' p.h5 --tokenizer bytes p.jsonl
values p.h5 /source/tokens '100, 101, 1, 9'
values p.h5 /source/documents '0, 3, 4'
values p.h5 /target/tokens '7, 8, 1'
values p.h5 /target/documents '0, 2, 3'
printf '{"tokens": [0, 65535]}\n{"tokens": []}\n' >i.jsonl
good '2 documents, 2 tokens' i.h5 --vocab 65536 i.jsonl
good '2 documents, 2 tokens' j.h5 --vocab 65537 --eos 2 --pad -1 i.jsonl
"$ZT_BUILD/ztinfo" show i.h5 >out
grep -q 'tokens: *2, uint16' out || fail "$(cat out)"
grep -q '65536, end 1, pad 0, first sentinel 65535' out || fail "$(cat out)"
"$ZT_BUILD/ztinfo" show j.h5 >out
grep -q 'tokens: *2, uint32' out || fail "$(cat out)"
grep -q '65537, end 2, no pad, first sentinel 65536' out || fail "$(cat out)"
"$ZT_BUILD/ztinfo" show p.h5 >out
grep -q 'pairs: *2' out || fail "$(cat out)"
"$ZT_BUILD/ztinfo" show --json p.h5 >out
grep -q '"pairs": true, "documents": 2, "tokens": \[4, 3\], "width": 2, ' out ||
  fail "$(cat out)"
# An empty file among others is left out, and said.
: >empty.txt
good '(1 empty file left out)' e.h5 --tokenizer bytes empty.txt b
# Any bytes, more than a block, back again.
head -c 3000001 /dev/urandom >noise
good '3000002 tokens from 3000001 bytes' n.h5 --tokenizer bytes noise
if command -v h5dump >/dev/null && command -v cmp >/dev/null; then
  h5dump -d /tokens -b LE -o tokens.raw n.h5 >/dev/null
  od -An -v -tu1 -w1 noise | awk '{print $1 + 3} END {print 1}' >want
  od -An -v -tu2 -w2 tokens.raw | awk '{print $1}' | cmp - want ||
    fail "random bytes do not come back"
fi
timeout 60 mpiexec -n 3 "$conv" tokens m.h5 --tokenizer bytes noise 2>err ||
  fail "on 3 ranks: $(cat err)"
[ "$(wc -l <err)" -eq 1 ] || fail "on 3 ranks: $(cat err)"
cmp m.h5 n.h5 || fail "3 ranks write another file"
"$conv" tokens --help | grep -q 'ztconv tokens OUT.h5' || fail "no help"

# ---- What does not ----
bad 66 'nowhere: cannot open' --tokenizer bytes nowhere
bad 66 'is a directory; name its files' --tokenizer bytes .
printf '\037\213\010\000' >text.gz
bad 65 "text.gz: is compressed, not text: pass on what 'gzip -dc'" \
  --tokenizer bytes text.gz
bad 65 'a.h5: is an HDF5 file, not text' --tokenizer bytes a.h5
bad 65 'empty.txt: no documents in it' --tokenizer bytes empty.txt
bad 65 'empty.txt and so on: no documents' --tokenizer bytes empty.txt empty.txt
printf '\n \n' >blank.jsonl
bad 65 'no documents' --tokenizer bytes blank.jsonl
printf '{"tokens": []}\n' >none.jsonl
bad 65 'no tokens' --vocab 9 none.jsonl
bad 64 'give --tokenizer' a.txt
bad 64 'a.txt: is text' --vocab 300 a.txt
bad 64 'is text' --vocab 300 d.json
bad 64 'usage: ztconv tokens' --tokenizer bytes
bad 64 'did you mean --vocab' --vocabs 3 a.txt
bad 64 '--vocab 1e3: not a number' --vocab 1e3 i.jsonl
bad 64 '--vocab 0: not a number' --vocab 0 i.jsonl
bad 64 'the tokenizer has 384 ids' --tokenizer bytes --vocab 383 b
bad 64 '--eos: id 384 is outside' --tokenizer bytes --eos 384 b
bad 64 '--sentinel: id 400' --tokenizer bytes --sentinel 400 b
bad 64 'no end id' --tokenizer bytes --eos -1 b
bad 65 'i.jsonl:1: "tokens"[1] is 65535, outside the vocabulary of 65535' \
  --vocab 65535 i.jsonl
line() {
  printf '{"text": "ok"}\n%b\n' "$2" >l.jsonl
  bad 65 "$1" --tokenizer bytes l.jsonl
}
line 'l.jsonl:2: not JSON' '{"text": "x'
line 'l.jsonl:2: not JSON' '{"text": "x"} {}'
line 'l.jsonl:2: not JSON' '{"text": "\0377"}'
line 'l.jsonl:2: not JSON' '{"text": "\0"}'
line 'l.jsonl:2: not JSON' '{"text": "a", "text": "b"}'
line 'l.jsonl:2: not a JSON object' '["x"]'
line 'l.jsonl:2: no "text"' '{"txt": "a"}'
line 'l.jsonl:2: no "text"' '{"source": "a"}'
line 'l.jsonl:2: "text" is neither' '{"text": 3}'
line 'l.jsonl:2: "tokens"[0] is no integer' '{"tokens": ["a"]}'
line 'l.jsonl:2: "tokens"[1] is no integer' '{"tokens": [1, 2.0]}'
line 'l.jsonl:2: "tokens"[0] is -1' '{"tokens": [-1]}'
line 'l.jsonl:2: not JSON' '{"tokens": [99999999999999999999]}'
line 'l.jsonl:2: a pair, but documents came before' '{"source": "", "target": ""}'
bad 65 'f.jsonl:1: a document, but pairs' --tokenizer bytes p.jsonl f.jsonl
printf '{"source": [], "target": "a"}\n' >l.jsonl
bad 65 'l.jsonl:1: "source" is empty' --tokenizer bytes l.jsonl
bad 65 'no "body"' --tokenizer bytes --field body d.json
# A pipe that never ends a line.
head -c 70000000 /dev/zero | tr '\0' x >long.jsonl
bad 65 'long.jsonl:1: a line of more than 64 MiB' --tokenizer bytes long.jsonl
rm long.jsonl
cp a.h5 keep
"$conv" tokens a.h5 --tokenizer bytes b 2>err
[ $? -eq 73 ] && grep -q 'a.h5: exists; --force replaces it' err ||
  fail "existing output: $(cat err)"
"$conv" tokens a.h5 --force --tokenizer bytes nowhere 2>err
[ $? -eq 66 ] || fail "--force with no input: $(cat err)"
cmp a.h5 keep || fail "a failure changed the existing file"
"$conv" tokens no/x.h5 --tokenizer bytes b 2>err
[ $? -eq 73 ] || fail "no folder for the output: $(cat err)"
[ -z "$(ls -A | grep -e tmp -e '\.......$')" ] || fail "left behind: $(ls -A)"
[ $failures -eq 0 ]
