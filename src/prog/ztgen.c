/* SPDX-License-Identifier: BSD-3-Clause */
/* ztgen: generates text with all ranks in step. */
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/output.h"
#include "prog/backends.h"
#include "prog/open_source.h"
#include "prog/program.h"
#include "prog/prompts.h"
#include "train/watch.h"
#include "train/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "Usage: ztgen SRC [OPTION]...\n"
    "Generate greedily from a weights file, a restart, a run's directory or a\n"
    "Hugging Face directory, alone or on the ranks of srun or mpiexec.\n"
    "\n"
    "      --prompt TEXT         one prompt\n"
    "      --tokens \"1 2 3\"      the ids of one prompt\n"
    "      --input FILE.jsonl    prompts, one a line: {\"text\": ...} or\n"
    "                            {\"tokens\": [ids]}; - is standard input\n"
    "      --max-new-tokens N    at most so many for each prompt (64)\n"
    "      --batch N             prompts a rank works on at once (8)\n"
    "      --tokenizer NAME      bytes, a SentencePiece model or a "
    "tokenizer.json\n"
    "                            instead of the model's own\n"
    "      --output FILE.jsonl   write there instead of standard output\n"
    "      --json                {\"index\", \"tokens\", \"text\"} a line\n"
    "  -h, --help  -V, --version\n";

typedef struct options {
  const char *source, *output, *tokenizer;
  zt_prompt_options prompts;
  int64_t max_new_tokens, batch;
  bool json;
} options;

enum {
  OPT_PROMPT = 256,
  OPT_TOKENS,
  OPT_INPUT,
  OPT_NEW,
  OPT_BATCH,
  OPT_TOKENIZER,
  OPT_OUTPUT,
  OPT_JSON
};

static zt_status read_count(const char *name, const char *text, int64_t *n) {
  char *end;
  errno = 0;
  *n = strtoll(text, &end, 10);
  if (end == text || *end || errno || *n < 1 || *n > 1 << 24)
    return zt_fail(ZT_ERR_USAGE, "--%s '%.40s': expected a number from 1 on",
                   name, text);
  return ZT_OK;
}

static zt_status take_option(options *o, int option) {
  switch (option) {
  case OPT_PROMPT:
    o->prompts.text = optarg;
    return ZT_OK;
  case OPT_TOKENS:
    o->prompts.tokens = optarg;
    return ZT_OK;
  case OPT_INPUT:
    o->prompts.input = optarg;
    return ZT_OK;
  case OPT_NEW:
    return read_count("max-new-tokens", optarg, &o->max_new_tokens);
  case OPT_BATCH:
    return read_count("batch", optarg, &o->batch);
  case OPT_TOKENIZER:
    o->tokenizer = optarg;
    return ZT_OK;
  case OPT_OUTPUT:
    o->output = optarg;
    o->json = true;
    return ZT_OK;
  case OPT_JSON:
    o->json = true;
    return ZT_OK;
  default:
    return zt_fail(ZT_ERR_USAGE, "--help and --version stand alone");
  }
}

static zt_status parse(int argc, char **argv, options *o) {
  static const struct option names[] = {
      {"prompt", required_argument, NULL, OPT_PROMPT},
      {"tokens", required_argument, NULL, OPT_TOKENS},
      {"input", required_argument, NULL, OPT_INPUT},
      {"max-new-tokens", required_argument, NULL, OPT_NEW},
      {"batch", required_argument, NULL, OPT_BATCH},
      {"tokenizer", required_argument, NULL, OPT_TOKENIZER},
      {"output", required_argument, NULL, OPT_OUTPUT},
      {"json", no_argument, NULL, OPT_JSON},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {NULL, 0, NULL, 0}};
  *o = (options){.max_new_tokens = 64, .batch = 8};
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "hV", names, &option));
    if (option < 0)
      break;
    ZT_TRY(take_option(o, option));
  }
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztgen SRC [OPTION]..."));
  o->source = argv[optind];
  int given = !!o->prompts.text + !!o->prompts.tokens + !!o->prompts.input;
  if (given != 1)
    return zt_fail(ZT_ERR_USAGE,
                   "give one of --prompt, --tokens and --input (see --help)");
  return ZT_OK;
}

/* ---- Results ---- */

static void add_ids(zt_text *line, const int32_t *ids, int64_t n,
                    const char *between) {
  for (int64_t t = 0; t < n; t++)
    zt_text_add(line, t ? "%s%" PRId32 : "%.0s%" PRId32, between, ids[t]);
}

static zt_status format_result(zt_tokenizer *tokenizer, bool json, int64_t i,
                               const zt_sequences *results, zt_text *line) {
  const int32_t *ids = results->ids + results->start[i];
  int64_t n = results->start[i + 1] - results->start[i];
  zt_text text = {0};
  zt_status status = ZT_OK;
  if (tokenizer)
    status = zt_tokenizer_decode(tokenizer, ids, (size_t) n, &text);
  if (json) {
    zt_text_add(line, "{\"index\": %" PRId64 ", \"tokens\": [", i);
    add_ids(line, ids, n, ", ");
    zt_text_add(line, "], \"text\": ");
    if (tokenizer)
      zt_text_add_json(line, text.data ? text.data : "", text.size);
    else
      zt_text_add(line, "null");
    zt_text_add(line, "}");
  } else if (tokenizer) {
    zt_text_append(line, text.data ? text.data : "", text.size);
  } else {
    add_ids(line, ids, n, " ");
  }
  zt_text_append(line, "\n", 1);
  zt_text_free(&text);
  return line->failed ? zt_fail(ZT_ERR_MEMORY, "out of memory") : status;
}

/* Where the results go, on rank 0: a file that is there whole or not at all, or
 * standard output, a device, a pipe. */
typedef struct results_file {
  const char *name;
  zt_output file; /* path NULL: none */
  FILE *to;
} results_file;

/* Before anything is computed: a name that cannot be written shows at once. */
static zt_status open_results(const char *path, results_file *r) {
  struct stat st;
  *r = (results_file){.name = path, .file = {.fd = -1}, .to = stdout};
  if (!path) {
    r->name = "standard output";
    return ZT_OK;
  }
  if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
    r->to = fopen(path, "w");
  } else {
    ZT_TRY(zt_output_begin(&r->file, path, true));
    int fd = dup(r->file.fd);
    r->to = fd < 0 ? NULL : fdopen(fd, "w");
  }
  return r->to ? ZT_OK
               : zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", path);
}

static void close_results(results_file *r) {
  if (r->to && r->to != stdout)
    fclose(r->to);
  r->to = NULL;
  zt_output_discard(&r->file);
}

static zt_status write_results(const options *o, zt_tokenizer *tokenizer,
                               const zt_sequences *results, results_file *r) {
  bool written = true;
  for (int64_t i = 0; i < results->count && written; i++) {
    zt_text line = {0};
    zt_status status = format_result(tokenizer, o->json, i, results, &line);
    if (status == ZT_OK)
      written = fwrite(line.data, 1, line.size, r->to) == line.size;
    zt_text_free(&line);
    ZT_TRY(status);
  }
  if (!written || fflush(r->to) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot write", r->name);
  return r->file.path ? zt_output_commit(&r->file) : ZT_OK;
}

/* ---- All of it ---- */

/* What the prompts become, on every rank.  Rank 0 has the prompts. */
static zt_status generate(zt_comm *comm, const options *o, zt_source *source,
                          const zt_model *model, zt_sequences *prompts,
                          zt_sequences *results) {
  zt_device *dev = NULL;
  zt_comm *between = NULL;
  zt_status status = zt_share_prompts(comm, prompts);
  if (status == ZT_OK)
    status = zt_open_device(ZT_DEVICE_AUTO, 0, comm, &dev);
  if (status == ZT_OK)
    status = zt_open_comm(ZT_COMM_AUTO, 0, comm, dev, &between);
  /* The batch shapes the products, so it is a function of the prompts alone:
   * ranks must not change a bit. */
  zt_generate_spec spec = {.batch = prompts->count < o->batch ? prompts->count
                                                              : o->batch,
                           .max_new_tokens = o->max_new_tokens,
                           .prefetch = 1};
  if (status == ZT_OK && prompts->count > 0)
    status = zt_generate(model, dev, between, source, prompts, &spec, results,
                         NULL);
  zt_close_comm(comm, &between);
  zt_device_destroy(&dev);
  return status;
}

/* On rank 0. */
static zt_status begin(const options *o, const zt_model *model,
                       zt_tokenizer *tokenizer, zt_sequences *prompts,
                       results_file *to) {
  ZT_TRY(zt_read_prompts(&o->prompts, tokenizer, model, prompts));
  return open_results(o->output, to);
}

static zt_status answer(zt_comm *comm, const options *o, zt_source *source,
                        const zt_model *model, zt_tokenizer *tokenizer) {
  zt_sequences prompts = {0}, results = {0};
  results_file to = {.file = {.fd = -1}};
  bool root = comm->rank == 0;
  zt_status status =
      zt_agree(comm, root ? begin(o, model, tokenizer, &prompts, &to) : ZT_OK);
  if (status == ZT_OK) {
    zt_watch_signals(); /* from here on nothing waits for a terminal */
    status = generate(comm, o, source, model, &prompts, &results);
  }
  if (status == ZT_OK)
    status = zt_agree(comm, root ? write_results(o, tokenizer, &results, &to)
                                 : ZT_OK);
  close_results(&to);
  zt_sequences_free(&prompts);
  zt_sequences_free(&results);
  return status;
}

static zt_status run(zt_comm *comm, int argc, char **argv) {
  options o;
  zt_source *source = NULL;
  zt_model *model = NULL;
  zt_tokenizer *tokenizer = NULL;
  ZT_TRY(zt_agree(comm, parse(argc, argv, &o)));
  ZT_TRY(zt_open_source(o.source, comm, &source));
  zt_status status = zt_weights_model(source, 0, &model, NULL);
  if (status == ZT_OK && comm->rank == 0)
    status = zt_model_tokenizer(source, model, o.tokenizer, &tokenizer);
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = answer(comm, &o, source, model, tokenizer);
  zt_tokenizer_close(&tokenizer);
  zt_model_destroy(&model);
  zt_source_close(&source);
  return status;
}

int main(int argc, char **argv) {
  zt_program program = {.name = "ztgen", .help = help};
  zt_status status = zt_program_start(&program, argc, argv);
  if (status == ZT_OK)
    status = run(program.comm, argc, argv);
  return zt_program_end(&program, status);
}
