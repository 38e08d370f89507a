/* SPDX-License-Identifier: BSD-3-Clause */
/* ztgen: generates text with all ranks in step. */
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/output.h"
#include "prog/backends.h"
#include "prog/launcher.h"
#include "prog/model_files.h"
#include "prog/open_source.h"
#include "prog/program.h"
#include "prog/prompts.h"
#include "prog/stream.h"
#include "train/watch.h"
#include "train/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "Usage: ztgen SRC [OPTION]...\n"
    "Generate from a weights file, a restart, a run's directory or a Hugging\n"
    "Face directory, alone or on the ranks of srun or mpiexec.\n"
    "\n"
    "      --prompt TEXT         one prompt\n"
    "      --tokens \"1 2 3\"      the ids of one prompt\n"
    "      --input FILE.jsonl    prompts, one a line: {\"text\": ...} or\n"
    "                            {\"tokens\": [ids]}; - is standard input\n"
    "      --max-new-tokens N    at most so many for each prompt (64)\n"
    "      --min-new-tokens N    no text ends before (0)\n"
    "      --temperature T       draw tokens; 0: the best one always (0)\n"
    "      --top-k K             draw among the K best (0: all)\n"
    "      --top-p P             draw among the best with this share (1: all)\n"
    "      --seed S              of the draws (0)\n"
    "      --beams N             beam search with so many (1: none)\n"
    "      --length-penalty P    of beam search: length to this power (1)\n"
    "      --stop TEXT           a text ends where it has this; may be "
    "repeated\n"
    "      --stop-id N           and with this id; may be repeated\n"
    "      --batch N             prompts a rank works on at once (8)\n"
    "      --keep SIZE           memory for parameters that stay gathered (0)\n"
    "      --agree-every N       tokens between two looks at who is free (8)\n"
    "      --tokenizer NAME      bytes, a SentencePiece model or a "
    "tokenizer.json\n"
    "                            instead of the model's own\n"
    "      --output FILE.jsonl   write there instead of standard output\n"
    "      --json                {\"index\", \"tokens\", \"text\"} a line\n"
    "  -h, --help  -V, --version\n";

typedef struct options {
  const char *source, *output, *tokenizer;
  zt_prompt_options prompts;
  zt_generate_spec spec;
  zt_stream stream;
  int32_t stop_ids[ZT_MOST_STOPS];
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
  OPT_JSON,
  OPT_MIN,
  OPT_TEMPERATURE,
  OPT_TOP_K,
  OPT_TOP_P,
  OPT_SEED,
  OPT_STOP,
  OPT_STOP_ID,
  OPT_AGREE,
  OPT_KEEP,
  OPT_BEAMS,
  OPT_PENALTY
};

static zt_status read_count(const char *name, const char *text, int64_t least,
                            int64_t *n) {
  enum { MOST = 1 << 24 };
  char *end;
  errno = 0;
  *n = strtoll(text, &end, 10);
  if (end == text || *end || errno || *n < least || *n > MOST)
    return zt_fail(ZT_ERR_USAGE,
                   "--%s '%.40s': expected a number from %" PRId64 " to %d",
                   name, text, least, MOST);
  return ZT_OK;
}

static zt_status read_real(const char *name, const char *text, double most,
                           double *x) {
  char *end;
  *x = strtod(text, &end);
  if (end == text || *end || !(*x >= 0 && *x <= most))
    return zt_fail(ZT_ERR_USAGE, "--%s '%.40s': expected a number from 0 to %g",
                   name, text, most);
  return ZT_OK;
}

static zt_status read_size(const char *name, const char *text, size_t *size) {
  if (!zt_parse_bytes(text, size))
    return zt_fail(ZT_ERR_USAGE, "--%s '%.40s': expected a size such as 2GiB",
                   name, text);
  return ZT_OK;
}

static zt_status read_seed(const char *text, uint64_t *seed) {
  char *end;
  errno = 0;
  *seed = strtoull(text, &end, 10);
  if (end == text || *end || errno || strchr(text, '-'))
    return zt_fail(ZT_ERR_USAGE, "--seed '%.40s': expected a number", text);
  return ZT_OK;
}

static zt_status read_penalty(const char *text, double *penalty) {
  char *end;
  *penalty = strtod(text, &end);
  if (end == text || *end || !(fabs(*penalty) <= 100))
    return zt_fail(ZT_ERR_USAGE,
                   "--length-penalty '%.40s': expected a number from -100 to "
                   "100",
                   text);
  return ZT_OK;
}

static zt_status add_stop(options *o, const char *text) {
  if (o->stream.n_stops == ZT_MOST_STOPS || !*text)
    return zt_fail(ZT_ERR_USAGE, "--stop: expected up to %d texts, none empty",
                   ZT_MOST_STOPS);
  o->stream.stops[o->stream.n_stops++] = text;
  return ZT_OK;
}

static zt_status add_stop_id(options *o, const char *text) {
  int64_t id;
  ZT_TRY(read_count("stop-id", text, 0, &id));
  if (o->spec.n_stop_ids == ZT_MOST_STOPS)
    return zt_fail(ZT_ERR_USAGE, "--stop-id: at most %d", ZT_MOST_STOPS);
  o->stop_ids[o->spec.n_stop_ids++] = (int32_t) id;
  return ZT_OK;
}

static zt_status take_choice(options *o, int option) {
  zt_sampling *s = &o->spec.sampling;
  switch (option) {
  case OPT_MIN:
    return read_count("min-new-tokens", optarg, 0, &o->spec.min_new_tokens);
  case OPT_TEMPERATURE:
    return read_real("temperature", optarg, 1000, &s->temperature);
  case OPT_TOP_K:
    return read_count("top-k", optarg, 0, &s->top_k);
  case OPT_TOP_P:
    return read_real("top-p", optarg, 1, &s->top_p);
  case OPT_SEED:
    return read_seed(optarg, &s->seed);
  case OPT_STOP:
    return add_stop(o, optarg);
  case OPT_STOP_ID:
    return add_stop_id(o, optarg);
  case OPT_BEAMS:
    return read_count("beams", optarg, 1, &o->spec.beams);
  case OPT_PENALTY:
    return read_penalty(optarg, &o->spec.length_penalty);
  case OPT_KEEP:
    return read_size("keep", optarg, &o->spec.keep);
  case OPT_AGREE:
    return read_count("agree-every", optarg, 1, &o->spec.agree_every);
  default:
    return zt_fail(ZT_ERR_USAGE, "--help and --version stand alone");
  }
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
    return read_count("max-new-tokens", optarg, 1, &o->spec.max_new_tokens);
  case OPT_BATCH:
    return read_count("batch", optarg, 1, &o->spec.batch);
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
    return take_choice(o, option);
  }
}

/* Options that do not go together. */
static zt_status check(const options *o) {
  const zt_sampling *s = &o->spec.sampling;
  int given = !!o->prompts.text + !!o->prompts.tokens + !!o->prompts.input;
  if (given != 1)
    return zt_fail(ZT_ERR_USAGE,
                   "give one of --prompt, --tokens and --input (see --help)");
  if (o->spec.min_new_tokens > o->spec.max_new_tokens)
    return zt_fail(ZT_ERR_USAGE,
                   "--min-new-tokens %" PRId64 " is above --max-new-tokens "
                   "%" PRId64,
                   o->spec.min_new_tokens, o->spec.max_new_tokens);
  if (s->temperature == 0 && (s->top_k > 0 || s->top_p < 1))
    return zt_fail(ZT_ERR_USAGE, "--top-k and --top-p draw among tokens: they "
                                 "need --temperature above 0");
  if (o->spec.beams > 1 && (s->temperature > 0 || o->stream.n_stops > 0))
    return zt_fail(ZT_ERR_USAGE,
                   "--beams goes with neither --temperature nor --stop");
  return ZT_OK;
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
      {"min-new-tokens", required_argument, NULL, OPT_MIN},
      {"temperature", required_argument, NULL, OPT_TEMPERATURE},
      {"top-k", required_argument, NULL, OPT_TOP_K},
      {"top-p", required_argument, NULL, OPT_TOP_P},
      {"seed", required_argument, NULL, OPT_SEED},
      {"stop", required_argument, NULL, OPT_STOP},
      {"stop-id", required_argument, NULL, OPT_STOP_ID},
      {"beams", required_argument, NULL, OPT_BEAMS},
      {"length-penalty", required_argument, NULL, OPT_PENALTY},
      {"agree-every", required_argument, NULL, OPT_AGREE},
      {"keep", required_argument, NULL, OPT_KEEP},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {NULL, 0, NULL, 0}};
  *o = (options){.spec = {.max_new_tokens = 64,
                          .batch = 8,
                          .agree_every = 8,
                          .beams = 1,
                          .length_penalty = 1,
                          .prefetch = 1,
                          .sampling = {.top_p = 1}}};
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "hV", names, &option));
    if (option < 0)
      break;
    ZT_TRY(take_option(o, option));
  }
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztgen SRC [OPTION]..."));
  o->source = argv[optind];
  return check(o);
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
    size_t shown = o->stream.to ? o->stream.printed : 0; /* one prompt */
    if (status == ZT_OK)
      written = fwrite(line.data + shown, 1, line.size - shown, r->to) ==
                line.size - shown;
    zt_text_free(&line);
    ZT_TRY(status);
  }
  if (!written || fflush(r->to) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot write", r->name);
  return r->file.path ? zt_output_commit(&r->file) : ZT_OK;
}

/* ---- All of it ---- */

/* What it took, for whoever looks. */
static void tell(const zt_comm *comm, const zt_generate_report *r) {
  if (comm->rank == 0 && r->seconds > 0)
    zt_info("%" PRId64 " tokens in %.2f s: %.1f tokens/s, %.0f %% of the slots "
            "idle",
            r->tokens, r->seconds, (double) r->tokens / r->seconds,
            100 * r->idle);
}

/* What the prompts become, on every rank.  Rank 0 has the prompts. */
static zt_status generate(zt_comm *comm, options *o, zt_source *source,
                          const zt_model *model, zt_sequences *prompts,
                          zt_sequences *results) {
  zt_device *dev = NULL;
  zt_comm *between = NULL;
  zt_generate_report report = {0};
  zt_status status = zt_share_prompts(comm, prompts);
  if (status == ZT_OK)
    status = zt_open_device(ZT_DEVICE_AUTO, 0, comm, &dev);
  if (status == ZT_OK)
    status = zt_open_comm(ZT_COMM_AUTO, 0, comm, dev, &between);
  zt_generate_spec spec = o->spec;
  int64_t each = (prompts->count + comm->size - 1) / comm->size;
  spec.batch = each < spec.batch ? each : spec.batch;
  spec.stop_ids = o->stop_ids;
  /* The first prompt is rank 0's, which has standard output. */
  if (prompts->count == 1 && !o->json && o->stream.tokenizer && spec.beams == 1)
    o->stream.to = stdout;
  if (o->stream.n_stops > 0 || o->stream.to) {
    spec.token = zt_stream_token;
    spec.context = &o->stream;
  }
  if (status == ZT_OK && prompts->count > 0)
    status = zt_generate(model, dev, between, source, prompts, &spec, results,
                         &report);
  if (status == ZT_OK)
    tell(comm, &report);
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

static zt_status answer(zt_comm *comm, options *o, zt_source *source,
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
  ZT_TRY(zt_agree(comm, zt_check_launcher(comm->size)));
  ZT_TRY(zt_open_source(o.source, comm, &source));
  zt_status status = zt_weights_model(source, 0, &model, NULL);
  if (status == ZT_OK)
    status = zt_model_stop_ids(source, model);
  for (int i = 0; status == ZT_OK && i < o.spec.n_stop_ids; i++)
    if (o.stop_ids[i] >= model->shape.vocabulary)
      status = zt_fail(
          ZT_ERR_USAGE, "--stop-id %d: the ids of the model are 0 to %lld",
          (int) o.stop_ids[i], (long long) model->shape.vocabulary - 1);
  bool wanted = comm->rank == 0 || o.stream.n_stops > 0;
  if (status == ZT_OK && wanted)
    status = zt_model_tokenizer(source, model, o.tokenizer, &tokenizer);
  if (status == ZT_OK && o.stream.n_stops > 0 && !tokenizer)
    status = zt_fail(ZT_ERR_USAGE,
                     "--stop: the model brings no tokenizer; use --stop-id, "
                     "or --tokenizer bytes or FILE");
  status = zt_agree(comm, status);
  o.stream.tokenizer = tokenizer;
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
