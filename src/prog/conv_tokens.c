/* SPDX-License-Identifier: BSD-3-Clause */
/* ztconv tokens: all ranks read and encode, rank 0 writes. */
#include "base/log.h"
#include "comm/agree.h"
#include "prog/conv.h"
#include "prog/token_input.h"
#include "prog/token_share.h"
#include "report/summary.h"
#include "train/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UNSET = -2 };
static const double TERMINAL_SECONDS = 0.5, LOG_SECONDS = 10;

typedef struct options {
  const char *tokenizer; /* NULL: ids only */
  const char *field;
  const zt_chat_template *chat;                /* NULL: by the tokenizer */
  int64_t vocabulary, bos, eos, pad, sentinel; /* UNSET: by the tokenizer */
  bool jsonl, force, help;
} options;

static const char help_text[] =
    "Usage: ztconv tokens OUT.h5 [OPTION]... IN...\n"
    "Write the token file OUT.h5 from text, JSONL and other trainers' tokens.\n"
    "\n"
    "IN.jsonl or IN.json holds one object a line: {\"text\": \"...\"},\n"
    "{\"tokens\": [ids]}, {\"source\": ..., \"target\": ...},\n"
    "{\"prompt\": ..., \"completion\": ...} (text or ids) or {\"messages\": "
    "[...]}.\n"
    "IN.bin is llm.c's, or Megatron's if IN.idx is beside it.  Any other file "
    "is\n"
    "one document of plain text; - is standard input.  Text gets the "
    "tokenizer's\n"
    "end id, ids are taken as they are.\n"
    "\n"
    "  --tokenizer NAME  bytes (ByT5), or the path of a SentencePiece model or "
    "a\n"
    "                    tokenizer.json; not needed when all input is ids\n"
    "  --vocab N         ids are 0 .. N-1 (default: the tokenizer's)\n"
    "  --bos ID          id before a text or prompt (default: as the "
    "tokenizer's\n"
    "                    files say; -1: none)\n"
    "  --eos ID          end id (default: the tokenizer's, else 1)\n"
    "  --pad ID          pad id (default: the tokenizer's, else 0)\n"
    "  --sentinel ID     first sentinel of span corruption, the next count\n"
    "                    down (default: the tokenizer's, else N-1; -1: none)\n"
    "  --template NAME   of messages: chatml or llama3 (default: the one "
    "whose\n"
    "                    marks the tokenizer has)\n"
    "  --field NAME      documents stand under this key of a line\n"
    "  --jsonl           all input is JSONL, whatever its name\n"
    "  --force           replace OUT.h5\n";

/* ---- Options ---- */

static zt_status parse_id(const char *name, const char *text, int64_t least,
                          int64_t *id) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (end == text || *end || errno || value < least || value > INT32_MAX)
    return zt_fail(ZT_ERR_USAGE,
                   "--%s %.40s: not a number from %" PRId64 " to %d", name,
                   text, least, INT32_MAX);
  *id = value;
  return ZT_OK;
}

static zt_status parse_options(int argc, char **argv, options *o) {
  enum {
    TOKENIZER = 256,
    VOCAB,
    BOS,
    EOS,
    PAD,
    SENTINEL,
    TEMPLATE,
    FIELD,
    JSONL,
    FORCE
  };
  static const struct option known[] = {
      {"tokenizer", required_argument, NULL, TOKENIZER},
      {"vocab", required_argument, NULL, VOCAB},
      {"bos", required_argument, NULL, BOS},
      {"eos", required_argument, NULL, EOS},
      {"template", required_argument, NULL, TEMPLATE},
      {"pad", required_argument, NULL, PAD},
      {"sentinel", required_argument, NULL, SENTINEL},
      {"field", required_argument, NULL, FIELD},
      {"jsonl", no_argument, NULL, JSONL},
      {"force", no_argument, NULL, FORCE},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0}};
  *o = (options){.vocabulary = UNSET,
                 .bos = UNSET,
                 .eos = UNSET,
                 .pad = UNSET,
                 .sentinel = UNSET};
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "h", known, &option));
    if (option == -1)
      break;
    if (option == TOKENIZER)
      o->tokenizer = optarg;
    else if (option == VOCAB)
      ZT_TRY(parse_id("vocab", optarg, 1, &o->vocabulary));
    else if (option == BOS)
      ZT_TRY(parse_id("bos", optarg, -1, &o->bos));
    else if (option == TEMPLATE)
      ZT_TRY(zt_chat_template_named(optarg, &o->chat));
    else if (option == EOS)
      ZT_TRY(parse_id("eos", optarg, -1, &o->eos));
    else if (option == PAD)
      ZT_TRY(parse_id("pad", optarg, -1, &o->pad));
    else if (option == SENTINEL)
      ZT_TRY(parse_id("sentinel", optarg, -1, &o->sentinel));
    else if (option == FIELD)
      o->field = optarg;
    o->jsonl = o->jsonl || option == JSONL;
    o->force = o->force || option == FORCE;
    o->help = o->help || option == 'h';
  }
  if (o->help)
    return ZT_OK;
  if (!o->tokenizer && o->vocabulary == UNSET)
    return zt_fail(
        ZT_ERR_USAGE,
        "give --tokenizer bytes, a SentencePiece model or a tokenizer.json, or "
        "--vocab N when all input is ids");
  return zt_check_operands(argc, 2, argc,
                           "ztconv tokens OUT.h5 [OPTION]... IN...");
}

/* ---- Vocabulary ---- */

static zt_status check_id(const char *name, int64_t id, int64_t vocabulary) {
  if (id < vocabulary)
    return ZT_OK;
  return zt_fail(ZT_ERR_USAGE,
                 "--%s: id %" PRId64 " is outside the vocabulary of %" PRId64
                 "; give another or a larger --vocab",
                 name, id, vocabulary);
}

/* What to record as the maker of the ids: plain letters only. */
static void name_tokenizer(const char *path, char *name, size_t size) {
  const char *slash = path ? strrchr(path, '/') : NULL;
  snprintf(name, size, "%s", slash ? slash + 1 : path ? path : "none");
  for (char *c = name; *c; c++)
    if (*c < ' ' || *c > '~')
      *c = '_';
}

/* The tokenizer's numbers, and what the user says instead. */
static zt_status decide_vocabulary(const options *o, const zt_tokenizer *t,
                                   zt_tokens_info *info, int64_t *bos) {
  zt_vocabulary v = {.size = o->vocabulary, .pad = 0, .eos = 1, .bos = -1};
  v.sentinel = v.size - 1;
  if (t)
    v = t->vocabulary;
  info->vocabulary = v.sentinel < v.size ? v.size : v.sentinel + 1;
  if (o->vocabulary != UNSET) {
    if (o->vocabulary < v.size)
      return zt_fail(ZT_ERR_USAGE,
                     "--vocab %" PRId64 ": the tokenizer has %" PRId64 " ids",
                     o->vocabulary, v.size);
    info->vocabulary = o->vocabulary;
    if (v.sentinel >= info->vocabulary)
      v.sentinel = -1;
  }
  info->eos = o->eos != UNSET ? o->eos : v.eos;
  info->pad = o->pad != UNSET ? o->pad : v.pad;
  info->sentinel = o->sentinel != UNSET ? o->sentinel : v.sentinel;
  if (t && info->eos < 0)
    return zt_fail(ZT_ERR_USAGE, "%.100s has no end id; give --eos ID",
                   o->tokenizer);
  *bos = o->bos != UNSET ? o->bos : v.bos;
  ZT_TRY(check_id("bos", *bos, info->vocabulary));
  ZT_TRY(check_id("eos", info->eos, info->vocabulary));
  ZT_TRY(check_id("pad", info->pad, info->vocabulary));
  ZT_TRY(check_id("sentinel", info->sentinel, info->vocabulary));
  name_tokenizer(o->tokenizer, info->tokenizer, sizeof info->tokenizer);
  return ZT_OK;
}

/* ---- Progress ---- */

typedef struct watch {
  int64_t begun, said; /* ns */
  bool terminal, shown;
} watch;

static void progress(const zt_token_input *in) {
  watch *w = in->context;
  int64_t now = zt_clock_ns();
  if ((double) (now - w->said) * 1e-9 <
      (w->terminal ? TERMINAL_SECONDS : LOG_SECONDS))
    return;
  w->said = now;
  char size[32], line[96];
  snprintf(line, sizeof line, "%s read, %" PRId64 " tokens, %.0f MB/s",
           zt_human_bytes((double) in->bytes, size),
           in->writer ? zt_token_writer_about(in->writer)->tokens[0] : 0,
           (double) in->bytes * 1e3 / (double) (now - w->begun));
  w->shown = w->terminal;
  if (w->terminal)
    fprintf(stderr, "\r%s\033[K", line);
  else
    zt_info("%s", line);
}

static void end_progress(const watch *w) {
  if (w->shown)
    fprintf(stderr, "\r\033[K");
}

static void summarize(const zt_token_input *in, const watch *w) {
  const zt_tokens_info *info = zt_token_writer_about(in->writer);
  double seconds = (double) (zt_clock_ns() - w->begun) * 1e-9;
  char pairs[64] = "", empty[64] = "";
  if (info->pairs)
    snprintf(pairs, sizeof pairs, " + %" PRId64, info->tokens[1]);
  if (in->empty)
    snprintf(empty, sizeof empty, " (%" PRId64 " empty file%s left out)",
             in->empty, in->empty > 1 ? "s" : "");
  zt_info("%s: %" PRId64 " %s, %" PRId64 "%s tokens from %" PRId64
          " bytes in %.2f s, %.1f MB/s%s",
          in->output, info->documents, info->pairs ? "pairs" : "documents",
          info->tokens[0], pairs, in->bytes, seconds,
          (double) in->bytes * 1e-6 / seconds, empty);
}

/* ---- The command ---- */

static zt_status add_all(zt_token_input *in, zt_comm *comm, char **inputs,
                         int n) {
  if (comm->size > 1)
    return zt_token_share(in, comm, inputs, n);
  for (int i = 0; i < n; i++)
    ZT_TRY(zt_token_input_add(in, inputs[i]));
  return ZT_OK;
}

static zt_status finish(zt_token_input *in, char **inputs, int n, watch *w) {
  if (!in->writer)
    return zt_fail(ZT_ERR_DATA, "%s%s: no documents in it", inputs[0],
                   n > 1 ? " and so on" : "");
  ZT_TRY(zt_token_writer_finish(in->writer));
  end_progress(w);
  w->shown = false;
  summarize(in, w);
  return ZT_OK;
}

static zt_status prepare(const options *o, zt_token_input *in) {
  if (o->tokenizer)
    ZT_TRY(zt_tokenizer_open(o->tokenizer, &in->tokenizer));
  return decide_vocabulary(o, in->tokenizer, &in->info, &in->bos);
}

static zt_status convert(const options *o, zt_comm *comm, char **operands,
                         int n) {
  watch w = {.begun = zt_clock_ns(), .terminal = isatty(STDERR_FILENO)};
  bool root = comm->rank == 0;
  w.said = w.begun;
  zt_watch_signals();
  zt_token_input in = {.output = operands[0],
                       .replace = o->force,
                       .jsonl = o->jsonl,
                       .field = o->field,
                       .chat = o->chat,
                       .eos_given = o->eos != UNSET,
                       .progress = root ? progress : NULL,
                       .context = &w};
  zt_status status = zt_agree(comm, prepare(o, &in));
  if (status == ZT_OK)
    status = zt_agree(comm, add_all(&in, comm, operands + 1, n - 1));
  if (status == ZT_OK)
    status =
        zt_agree(comm, root ? finish(&in, operands + 1, n - 1, &w) : ZT_OK);
  end_progress(&w);
  zt_token_writer_destroy(&in.writer);
  zt_tokenizer_close(&in.tokenizer);
  return status;
}

zt_status zt_conv_tokens(zt_program *program, int argc, char **argv) {
  options o;
  ZT_TRY(parse_options(argc, argv, &o));
  if (o.help)
    return zt_command_help(program, help_text);
  return convert(&o, program->comm, argv + optind, argc - optind);
}
