# SPDX-License-Identifier: BSD-3-Clause
# Taking safetensors files apart and putting them together again; to be sourced.

# st_header FILE, st_data FILE: its parts, on standard output.
st_length() {
  od -An -tu8 -N8 "$1" | tr -d ' '
}
st_header() {
  head -c $(($(st_length "$1") + 8)) "$1" | tail -c +9
}
st_data() {
  tail -c +$(($(st_length "$1") + 9)) "$1"
}

# st_make HEADER DATA >FILE: of two files.
st_make() {
  n=$(($(wc -c <"$1")))
  for shift in 0 8 16 24 32 40 48 56; do
    printf "\\$(printf %03o $((n >> shift & 255)))"
  done
  cat "$1" "$2"
}

# st_range HEADER NAME: "BEGIN END" of a tensor in the data.
st_range() {
  sed 's/.*"'"$2"'":{[^}]*"data_offsets":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2/' \
    "$1"
}

# st_tensor FILE NAME: the bytes of a tensor.
st_tensor() {
  st_header "$1" >st_header.tmp
  set -- "$1" $(st_range st_header.tmp "$2")
  rm st_header.tmp
  st_data "$1" | tail -c +$(($2 + 1)) | head -c $(($3 - $2))
}

# st_add FILE NAME SHAPE <BYTES: one more fp32 tensor, at the end.
st_add() {
  st_header "$1" >st_header.tmp
  st_data "$1" >st_data.tmp
  begin=$(($(wc -c <st_data.tmp)))
  cat >>st_data.tmp
  end=$(($(wc -c <st_data.tmp)))
  sed 's/}} *$/},"'"$2"'":{"dtype":"F32","shape":'"$3"',"data_offsets":['"$begin,$end"']}}/' \
    st_header.tmp >st_new.tmp
  st_make st_new.tmp st_data.tmp >"$1"
  rm st_header.tmp st_data.tmp st_new.tmp
}

# st_edit FILE SED-SCRIPT: the header changed, the data left as it is.
st_edit() {
  st_header "$1" | sed "$2" >st_header.tmp
  st_data "$1" >st_data.tmp
  st_make st_header.tmp st_data.tmp >"$1"
  rm st_header.tmp st_data.tmp
}
