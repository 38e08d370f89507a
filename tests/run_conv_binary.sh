#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Token files of llm.c and Megatron: the same documents come out; wrong ones
# are refused with a reason.
# shellcheck disable=SC2015,SC2059
. "$(dirname "$0")/lib.sh"

# le WIDTH NUMBER...: the numbers as little-endian bytes.
le() {
  width=$1
  shift
  for number; do
    i=0
    while [ $i -lt "$width" ]; do
      printf "\\$(printf %03o $((number & 255)))"
      number=$((number >> 8)) i=$((i + 1))
    done
  done
}
zeros() { head -c "$1" /dev/zero; }
# llmc WIDTH MAGIC VERSION COUNT ID...
llmc() {
  llmc_width=$1
  le 4 "$2" "$3" "$4"
  zeros 1012
  shift 4
  le "$llmc_width" "$@"
}
digest() {
  ztinfo show --json "$1" | sed -n 's/.*"digest": "\([0-9a-f]*\)".*/\1/p'
}
# expect NAME JSONL...: got.h5 holds the documents of these lines.
expect() {
  cases=$((cases + 1))
  name=$1
  shift
  printf '%s\n' "$@" >want.jsonl
  ztconv tokens want.h5 --force --vocab 60000 --eos 50256 want.jsonl 2>err &&
    [ -n "$(digest got.h5)" ] && [ "$(digest want.h5)" = "$(digest got.h5)" ] ||
    fail "$name: not the same documents"
}
convert() {
  rm -f got.h5
  ztconv tokens got.h5 --vocab 60000 --eos 50256 "$@" 2>err ||
    fail "$*: $(cat err)"
}
# refuse TEXT FILE
refuse() {
  cases=$((cases + 1))
  rm -f got.h5
  ztconv tokens got.h5 --vocab 60000 "$2" 2>err
  code=$?
  [ $code -eq 65 ] || fail "$2: code $code"
  [ "$(wc -l <err)" -eq 1 ] && [ "$(wc -c <err)" -le 210 ] &&
    grep -q -- "$1" err || fail "$2: says: $(cat err)"
  [ ! -e got.h5 ] || fail "$2: left got.h5"
}

llmc 2 20240520 1 8 50256 1 2 3 50256 59999 4 50256 >gpt2.bin
convert gpt2.bin
expect gpt2 '{"tokens": [50256, 1, 2, 3]}' '{"tokens": [50256, 59999, 4]}' \
  '{"tokens": [50256]}'
llmc 4 20240801 7 4 7 8 50256 9 >llama3.bin
convert llama3.bin
expect llama3 '{"tokens": [7, 8]}' '{"tokens": [50256, 9]}'
llmc 2 20240520 1 9 1 2 >short.bin
refuse 'says 9 tokens, but holds 4 bytes' short.bin
llmc 2 20240520 2 2 1 2 >version.bin
refuse 'version 2, 1 is known' version.bin
llmc 2 1234 1 2 1 2 >magic.bin
refuse 'magic number 1234' magic.bin
llmc 2 20240520 1 3 1 60000 2 >large.bin
refuse 'token 1 is 60000, outside the vocabulary' large.bin
le 2 1 2 3 >raw.bin
refuse 'no token file of llm.c' raw.bin

# index TYPE SEQUENCES ENTRIES "LENGTHS" "OFFSETS" "TABLE"
index() {
  printf 'MMIDIDX\0\0'
  le 8 1
  le 1 "$1"
  le 8 "$2" "$3"
  # shellcheck disable=SC2086
  { le 4 $4 && le 8 $5 && le 8 $6; }
}
le 2 10 11 12 13 14 59999 >meg.bin
index 8 3 3 '2 1 3' '0 4 6' '0 2 3' >meg.idx
convert meg.bin
expect megatron '{"tokens": [10, 11, 12]}' '{"tokens": [13, 14, 59999]}'
convert meg.idx
expect megatron.idx '{"tokens": [10, 11, 12]}' '{"tokens": [13, 14, 59999]}'
{ cat meg.idx && le 1 0 0 0; } >modes.idx
cp meg.bin modes.bin
convert modes.bin
expect modes '{"tokens": [10, 11, 12]}' '{"tokens": [13, 14, 59999]}'
le 4 10 11 12 13 14 15 >wide.bin
index 4 2 2 '2 3' '0 12' '0 2' >wide.idx
convert wide.bin
expect wide '{"tokens": [10, 11, 13, 14, 15]}'
# wrong NAME TEXT TYPE SEQUENCES ...
wrong() {
  name=$1 text=$2
  shift 2
  cp meg.bin "$name.bin"
  index "$@" >"$name.idx"
  refuse "$text" "$name.bin"
}
wrong type 'type 6 is none of ids' 6 3 3 '2 1 3' '0 4 6' '0 2 3'
wrong beyond 'sequence 2 (4 tokens from byte 6)' 8 3 3 '2 1 4' '0 4 6' '0 2 3'
wrong odd 'sequence 1 (1 tokens from byte 3)' 8 3 3 '2 1 3' '0 3 6' '0 2 3'
wrong back 'document 1 begins at sequence 4' 8 3 3 '2 1 3' '0 4 6' '0 4 3'
wrong end 'document 2 begins at sequence 2 of 3' 8 3 3 '2 1 3' '0 4 6' '0 1 2'
wrong count '99 sequences' 8 99 3 '2 1 3' '0 4 6' '0 2 3'
cp meg.bin cut.bin
head -c 60 meg.idx >cut.idx
refuse 'bytes, 94 expected' cut.bin
cp meg.bin text.bin
cp gpt2.bin text.idx
refuse "does not begin as Megatron's" text.bin
cp meg.idx alone.idx
cases=$((cases + 1))
ztconv tokens got.h5 --vocab 60000 alone.idx 2>err
[ $? -eq 66 ] && grep -q 'alone.bin' err || fail "no .bin: $(cat err)"
finish cases
