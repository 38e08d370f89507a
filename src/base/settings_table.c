/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings_table.h"

#include "base/settings_problems.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The key is the path of its field, so the two cannot differ, and a field of
 * another type than its row says does not compile. */
#define FIELD(path, ctype)                                                     \
  .key = #path,                                                                \
  .offset = offsetof(zt_settings, path) +                                      \
            0 * sizeof(_Generic(&((zt_settings *) 0)->path, ctype * : 1))
#define BOOL(path) FIELD(path, bool), .type = ZT_SETTING_BOOL
#define STRING(path) FIELD(path, char *), .type = ZT_SETTING_STRING
#define INT(path, low, high)                                                   \
  FIELD(path, int64_t), .type = ZT_SETTING_INT, .least = (low), .most = (high)
#define BYTES(path, low, high)                                                 \
  FIELD(path, size_t), .type = ZT_SETTING_BYTES, .least = (low), .most = (high)
#define REAL(path, limits)                                                     \
  FIELD(path, double), .type = ZT_SETTING_REAL, .range = (limits)
#define PAIR(path, limits)                                                     \
  .key = #path, .type = ZT_SETTING_PAIR, .range = (limits),                    \
  .offset = offsetof(zt_settings, path) +                                      \
            0 * sizeof(_Generic(&((zt_settings *) 0)->path, double(*)[2] : 1))
#define STRINGS(path) FIELD(path, zt_strings), .type = ZT_SETTING_STRINGS
#define REALS(path, limits)                                                    \
  FIELD(path, zt_reals), .type = ZT_SETTING_REALS, .range = (limits)
#define CHOICE(path, ctype, ...)                                               \
  FIELD(path, ctype), .type = ZT_SETTING_CHOICE, .choices = {__VA_ARGS__}

#define BIG ZT_SETTING_MOST

const zt_setting zt_setting_table[] = {
    {STRING(run.dir), .need = ZT_NEED_RUN,
     .help =
         "Directory of the run: metrics, log and restarts go there. Made if "
         "it does not exist."},
    {INT(run.seed, 0, INT64_MAX), .value = "1", .fixed = true,
     .help = "Seed of dropout, sample order and noise."},
    {REAL(run.watchdog_seconds, ZT_NOT_NEGATIVE), .value = "600",
     .unit = "seconds",
     .help = "A rank that makes no progress for so long ends the job with code "
             "76. 0: never."},

    {STRING(model.weights), .need = ZT_NEED_WEIGHTS, .fixed = true,
     .help = "Weights file to start from, made by 'ztconv import' or 'ztconv "
             "init'."},
    {STRING(model.config), .value = "", .fixed = true,
     .help = "A config.json in place of model.weights: enough to plan, not to "
             "train."},

    {STRINGS(data.train), .need = ZT_NEED_DATA, .fixed = true,
     .help = "Token file to train on, made by 'ztconv tokens', or several of "
             "one vocabulary and kind: [\"a.h5\", \"b.h5\"]."},
    {REALS(data.weights, ZT_POSITIVE), .value = "[]", .fixed = true,
     .help = "Share of the samples that each file of data.train gets, as "
             "[0.7, 0.3]; a file that is used up begins anew in another "
             "order. []: all files as one, so each epoch has each sample "
             "once."},
    {STRING(data.valid), .value = "", .fixed = true,
     .help = "Token file for evaluation, see train.eval_every; prepared as "
             "data.train is, and taken in its order."},
    {REAL(data.valid_fraction, ZT_BELOW_ONE), .value = "0.0", .fixed = true,
     .help = "Share of the samples of data.train that is held out for "
             "evaluation in place of data.valid: drawn by run.seed, spread "
             "over each file, never trained on."},
    {CHOICE(data.task, zt_task, "span-corruption", "seq2seq", "causal"),
     .value = "span-corruption", .fixed = true,
     .help =
         "What is learnt. span-corruption: restore spans cut from plain text "
         "(noise 0.15, mean span 3). seq2seq: pairs of source and target. "
         "causal: the next token."},
    {INT(data.source_length, 1, 1 << 24), .value = "512", .fixed = true,
     .unit = "tokens",
     .help = "Length that encoder input is padded or cut to."},
    {INT(data.target_length, 1, 1 << 24), .value = "114", .fixed = true,
     .unit = "tokens",
     .help = "Length that targets are padded or cut to. Span corruption of 512 "
             "source tokens makes 114."},
    {INT(data.length, 2, 1 << 24), .value = "1024", .fixed = true,
     .unit = "tokens", .help = "Length of a sample; task \"causal\" only."},
    {BOOL(data.packing), .value = "true", .fixed = true,
     .help = "true: samples run on over document ends; of pairs and "
             "conversations, as many whole ones as fit. false: one document a "
             "sample. Not for task \"seq2seq\"."},
    {BOOL(data.document_attention), .value = "false", .fixed = true,
     .help = "true: attention and positions begin anew at each document of a "
             "packed sample, as they always do with pairs and conversations. "
             "Task \"causal\" only."},
    {CHOICE(data.too_long, zt_too_long, "truncate", "skip", "error"),
     .value = "truncate", .fixed = true,
     .help = "What becomes of a document longer than data.length that is not "
             "to run on in the next sample: cut on the right, left out, or an "
             "error. Task \"causal\" only."},
    {CHOICE(data.order, zt_order, "shuffled", "sequential"),
     .value = "shuffled", .fixed = true,
     .help = "shuffled: another order in each epoch, given by run.seed. "
             "sequential: as in the file, one file after the other."},

    {INT(train.steps, 1, BIG), .need = ZT_NEED_STEPS, .unit = "steps",
     .help = "Step after which the run is done. The linear schedule ends there "
             "too."},
    {INT(train.batch, 1, INT32_MAX), .need = ZT_NEED_BATCH, .fixed = true,
     .unit = "samples",
     .help = "Samples of a step, over all ranks. A multiple of "
             "train.microbatch."},
    {INT(train.microbatch, 1, INT32_MAX), .need = ZT_NEED_BATCH, .fixed = true,
     .unit = "samples",
     .help =
         "Samples computed at once by a rank: the larger, the faster, and the "
         "more memory for activations."},
    {REAL(train.dropout, ZT_BELOW_ONE), .value = "0.0", .fixed = true,
     .help = "Share of activations set to zero, wherever the family has "
             "dropout."},
    {REAL(train.label_smoothing, ZT_BELOW_ONE), .value = "0.0",
     .help = "Share of each target that is spread over the whole vocabulary, "
             "as torch's CrossEntropyLoss and Hugging Face's Trainer do. The "
             "loss that is reported is without it; what is learnt is "
             "\"objective\" in metrics.jsonl."},
    {REAL(train.z_loss, ZT_NOT_NEGATIVE), .value = "0.0",
     .help = "Factor of (log Z)^2 in what is learnt, Z being the denominator "
             "of a token's softmax; T5X and PaLM take 1e-4. Reported as "
             "train.label_smoothing is."},
    {CHOICE(train.precision, zt_dtype, "fp32", "bf16"), .value = "fp32",
     .fixed = true,
     .help =
         "Number format of gathered weights and activations. Master weights, "
         "gradients and sums are fp32 in any case."},
    {BOOL(train.recompute), .value = "true",
     .help =
         "true: the backward pass computes each unit's activations anew, so "
         "that only unit inputs are kept. false: all are kept. The results "
         "are the same."},
    {INT(train.eval_every, 0, BIG), .value = "0", .unit = "steps",
     .help = "Steps between evaluations on data.valid or what is held out; the "
             "last step is evaluated too. 0: none."},
    {INT(train.eval_generate, 0, INT32_MAX), .value = "0", .unit = "questions",
     .help = "So many questions of the validation set, the first ones, are "
             "answered by generation at each evaluation: exact match and F1 "
             "over token ids. 0: none."},
    {INT(train.eval_max_new_tokens, 0, 1 << 24), .value = "0", .unit = "tokens",
     .help = "Most tokens of an answer. 0: data.target_length; 128 for task "
             "\"causal\"."},
    {INT(train.max_skips, 0, BIG), .value = "10", .unit = "steps",
     .help =
         "Steps in a row that may be skipped for a loss or gradient that is "
         "not finite; one more ends the run with code 79."},

    {CHOICE(train.optimizer.name, zt_optimizer_kind, "adamw", "adafactor"),
     .value = "adamw", .fixed = true,
     .help =
         "adamw: as PyTorch's. adafactor: as Hugging Face's for T5, without "
         "a first moment; of a matrix it keeps means of rows and columns "
         "alone, so that the state is about a third."},
    {REAL(train.optimizer.lr, ZT_NOT_NEGATIVE), .value = "1e-3",
     .help = "Learning rate at its highest, after the warm-up."},
    {PAIR(train.optimizer.betas, ZT_BELOW_ONE), .value = "[0.9, 0.999]",
     .help = "Decay rates of the two running means of adamw."},
    {REAL(train.optimizer.eps, ZT_POSITIVE), .value = "1e-8",
     .help = "Added to the denominator of the update of adamw."},
    {REAL(train.optimizer.weight_decay, ZT_NOT_NEGATIVE), .value = "0.01",
     .help =
         "Decoupled weight decay, multiplied by the learning rate. Not set, "
         "it is 0 for adafactor."},
    {BOOL(train.optimizer.scale_parameter), .value = "true",
     .help = "Adafactor: the learning rate is multiplied by the root mean "
             "square of each parameter."},
    {BOOL(train.optimizer.relative_step), .value = "false",
     .help = "true: the learning rate of step n is the smaller of 1e-2 and "
             "1/sqrt(n), whatever lr and the schedule say. Adafactor only."},
    {BOOL(train.optimizer.warmup_init), .value = "false",
     .help = "true: 1e-6 n instead of 1e-2 in relative_step."},
    {REAL(train.optimizer.clip_threshold, ZT_POSITIVE), .value = "1.0",
     .help = "Adafactor: largest root mean square of a tensor's update before "
             "the learning rate; a larger one is scaled down to it."},
    {REAL(train.optimizer.decay_rate, ZT_POSITIVE), .value = "0.8",
     .help = "Adafactor: update n keeps a share of 1 - n^-decay_rate of the "
             "running means of squares. Hugging Face writes it with a minus."},
    {PAIR(train.optimizer.adafactor_eps, ZT_POSITIVE), .value = "[1e-30, 1e-3]",
     .help =
         "Adafactor: what is added to squared gradients, and the least root "
         "mean square of a parameter in scale_parameter."},
    {CHOICE(train.optimizer.decay_on, zt_decay_rule, "matrices", "all"),
     .value = "matrices",
     .help = "What decays. matrices: no norms, biases or relative bias, as "
             "Hugging Face's Trainer. all: every parameter."},
    {STRING(train.optimizer.freeze), .value = "",
     .help = "Parameters that are not trained: patterns of their names, with "
             "blanks between, as \"shared.weight encoder.*\". They count "
             "neither for the update nor for the gradient's norm."},
    {STRING(train.optimizer.lr_scale), .value = "",
     .help = "Factors of the learning rate by patterns of names, as "
             "\"lm_head.*=0.1 *.bias=2\"; the first pattern that matches "
             "counts."},
    {REAL(train.optimizer.clip, ZT_NOT_NEGATIVE), .value = "1.0",
     .help =
         "Largest norm of the whole gradient; a longer one is scaled down to "
         "it. 0: no clipping."},

    {CHOICE(train.schedule.name, zt_schedule_kind, "linear", "constant",
            "cosine", "inverse-sqrt", "wsd"),
     .value = "linear",
     .help = "Learning rate after the warm-up. linear, cosine: falls to min_lr "
             "at train.steps. constant: stays. inverse-sqrt: falls with the "
             "square root of the step. wsd: stays, then falls to min_lr over "
             "the last steps."},
    {INT(train.schedule.warmup, 0, BIG), .value = "100", .unit = "steps",
     .help = "Steps over which the learning rate rises from 0."},
    {INT(train.schedule.decay, 0, BIG), .value = "0", .unit = "steps",
     .help = "Steps at the end over which the learning rate falls; schedule "
             "\"wsd\" only."},
    {REAL(train.schedule.min_lr, ZT_NOT_NEGATIVE), .value = "0.0",
     .help = "Learning rate at the end of the schedules linear, cosine and "
             "wsd."},

    {INT(zero.unit_limit, 0, BIG), .value = "0", .unit = "elements",
     .help = "Most parameters gathered at once; larger units are divided. 0: "
             "whole units."},
    {INT(zero.prefetch, 0, 3), .value = "1", .unit = "units",
     .help = "Units gathered ahead of the one that computes."},
    {CHOICE(zero.carrier, zt_carrier, "flat", "chain"), .value = "flat",
     .help = "How gradients reach their owners; the results are the same. "
             "flat: straight. chain: sums go from rank to rank, which sends "
             "less between nodes if the ranks of a node are consecutive."},

    {INT(restart.every_steps, 0, BIG), .value = "100", .unit = "steps",
     .help = "Steps between restarts. 0: not by steps. The last step is always "
             "saved."},
    {REAL(restart.every_minutes, ZT_NOT_NEGATIVE), .value = "0.0",
     .unit = "minutes", .help = "Time between restarts. 0: not by time."},
    {INT(restart.keep, 1, BIG), .value = "3", .unit = "restarts",
     .help = "Newest restarts to keep; older ones are removed."},
    {INT(restart.keep_every, 0, BIG), .value = "0", .unit = "steps",
     .help = "Restarts of steps that are a multiple of this are kept for ever. "
             "0: none."},
    {BOOL(restart.keep_best), .value = "true",
     .help = "true: a step whose evaluation is the best so far (least loss) is "
             "saved, and the best restart is kept."},
    {BOOL(restart.async), .value = "true",
     .help =
         "true: restarts are written while training goes on. false: training "
         "waits."},
    {CHOICE(restart.busy, zt_busy_rule, "wait", "skip"), .value = "wait",
     .help = "A save that is due while the last one is still being written "
             "waits for it, or is left out."},
    {INT(restart.max_failures, 0, BIG), .value = "3", .unit = "saves",
     .help = "Saves in a row that may fail for want of space or by I/O errors "
             "before the run stops with code 74."},
    {INT(restart.ranks_per_part, 0, INT32_MAX), .value = "0", .unit = "ranks",
     .help = "Ranks that write one file together. 0: those of a node."},
    /* With all other buffers of a rank it stays below 64 MiB: run_memory. */
    {BYTES(restart.staging, 1 << 16, (int64_t) 1 << 40), .value = "24MiB",
     .help = "Memory of each rank for copies of what training is about to "
             "change and is not yet written; with room for the whole slice "
             "a save holds training up for one copy."},

    {CHOICE(runtime.device, zt_device_choice, "auto", "cpu", "cuda"),
     .value = "auto", .help = "Where to compute. auto: a GPU if there is one."},
    {CHOICE(runtime.comm, zt_comm_choice, "auto", "mpi", "nccl"),
     .value = "auto",
     .help = "What moves weights and gradients between ranks. nccl: from GPU "
             "to GPU. mpi: through the host's memory. auto: nccl on GPUs if "
             "it was built in, else mpi."},
    {INT(runtime.threads, 0, 4096), .value = "0", .unit = "threads",
     .help =
         "Threads of a rank. 0: as OMP_NUM_THREADS or the launcher says. The "
         "results do not depend on it."},
    {STRING(runtime.tuning), .value = "",
     .help = "File of kernel choices, made by 'ztinfo tune'."},

    {INT(log.every_steps, 1, BIG), .value = "10", .unit = "steps",
     .help =
         "Steps between progress lines. metrics.jsonl has every step in any "
         "case."},
    {INT(log.samples, 0, INT32_MAX), .value = "0", .unit = "answers",
     .help = "Answers that each evaluation shows in the log, see "
             "train.eval_generate."},
    {BOOL(log.tensorboard), .value = "true",
     .help = "Write event files for TensorBoard too."},
};

const int zt_setting_count =
    (int) (sizeof zt_setting_table / sizeof *zt_setting_table);

_Static_assert(ZT_FP32 == 0 && ZT_BF16 == 1, "order of train.precision");
_Static_assert(sizeof(zt_task) == sizeof(int), "choices are stored as int");

/* What other trainers call a key, by its last component. */
static const struct {
  const char *name, *key;
} known_as[] = {
    {"learning_rate", "train.optimizer.lr"},
    {"peak_lr", "train.optimizer.lr"},
    {"batch_size", "train.batch"},
    {"global_batch_size", "train.batch"},
    {"micro_batch", "train.microbatch"},
    {"micro_batch_size", "train.microbatch"},
    {"per_device_train_batch_size", "train.microbatch"},
    {"gradient_accumulation_steps", "train.microbatch"},
    {"max_steps", "train.steps"},
    {"train_steps", "train.steps"},
    {"warmup_steps", "train.schedule.warmup"},
    {"lr_scheduler_type", "train.schedule.name"},
    {"max_grad_norm", "train.optimizer.clip"},
    {"grad_clip", "train.optimizer.clip"},
    {"gradient_checkpointing", "train.recompute"},
    {"dtype", "train.precision"},
    {"eval_steps", "train.eval_every"},
    {"save_steps", "restart.every_steps"},
    {"save_total_limit", "restart.keep"},
    {"logging_steps", "log.every_steps"},
    {"output_dir", "run.dir"},
    {"seq_length", "data.source_length"},
};

const zt_setting *zt_setting_find(const char *key) {
  for (int i = 0; i < zt_setting_count; i++)
    if (!strcmp(zt_setting_table[i].key, key))
      return &zt_setting_table[i];
  return NULL;
}

int zt_setting_index(const zt_setting *setting) {
  return (int) (setting - zt_setting_table);
}

bool zt_setting_is_group(const char *key) {
  size_t n = strlen(key);
  for (int i = 0; i < zt_setting_count; i++)
    if (!strncmp(zt_setting_table[i].key, key, n) &&
        zt_setting_table[i].key[n] == '.')
      return n > 0;
  return false;
}

static const char *last_component(const char *key) {
  const char *dot = strrchr(key, '.');
  return dot ? dot + 1 : key;
}

/* How far a wrong key is from a right one; HOPELESS when nobody would take one
 * for the other.  A right name in the wrong group is nearer than a wrong name
 * in the right one. */
enum { HOPELESS = 1000 };
static int strangeness(const char *wrong, const char *right) {
  const char *name = last_component(wrong);
  size_t n = strlen(name);
  int whole = zt_edit_distance(wrong, right);
  const char *right_name = last_component(right);
  size_t m = strlen(right_name);
  int last = zt_edit_distance(name, right_name);
  if (last == 0)
    return whole;
  if (last <= (n > 4 ? 2 : n > 2 ? 1 : 0))
    return 100 * last + whole;
  /* batchsize, watchdog */
  if (n > 3 && m > 3 && !strncmp(name, right_name, n < m ? n : m))
    return 300 + whole;
  return HOPELESS;
}

static void consider(const char *wrong, const char *right, int *least,
                     char best[ZT_SUGGESTION]) {
  int far = strangeness(wrong, right);
  if (far < *least) {
    *least = far;
    snprintf(best, ZT_SUGGESTION, "%s", right);
  }
}

bool zt_setting_suggest(const char *key, char suggestion[ZT_SUGGESTION]) {
  int least = HOPELESS;
  for (int i = 0; i < zt_setting_count; i++) {
    const char *right = zt_setting_table[i].key;
    consider(key, right, &least, suggestion);
    for (const char *dot = strchr(right, '.'); dot;
         dot = strchr(dot + 1, '.')) {
      char group[ZT_SUGGESTION];
      snprintf(group, sizeof group, "%.*s", (int) (dot - right), right);
      consider(key, group, &least, suggestion);
    }
  }
  for (size_t i = 0; least > 100 && i < sizeof known_as / sizeof *known_as; i++)
    if (!strcmp(last_component(key), known_as[i].name)) {
      snprintf(suggestion, ZT_SUGGESTION, "%s", known_as[i].key);
      return true;
    }
  return least < HOPELESS;
}

const char *zt_setting_unknown(const char *key, char message[128]) {
  char shown[48], right[ZT_SUGGESTION];
  zt_shorten(key, false, shown, sizeof shown);
  if (zt_setting_suggest(key, right))
    snprintf(message, 128, "unknown key '%s'; did you mean '%s'?", shown,
             right);
  else
    snprintf(message, 128,
             "unknown key '%s' ('ztrain --explain all' has every key)", shown);
  return message;
}

zt_status zt_setting_lookup(const char *key, const zt_setting **setting) {
  char message[128];
  *setting = zt_setting_find(key);
  if (!*setting)
    return zt_fail(ZT_ERR_USAGE, "%s", zt_setting_unknown(key, message));
  return ZT_OK;
}

static void describe_integer(const zt_setting *s, char *buffer) {
  if (s->most == INT64_MAX)
    snprintf(buffer, 128, "an integer, %" PRId64 " or more", s->least);
  else if (s->most == ZT_SETTING_MOST)
    snprintf(buffer, 128, "an integer from %" PRId64 " to 2^62", s->least);
  else
    snprintf(buffer, 128, "an integer from %" PRId64 " to %" PRId64, s->least,
             s->most);
}

static void describe_choice(const zt_setting *s, char *buffer) {
  size_t used = 0;
  for (int i = 0; i < ZT_MAX_CHOICES && s->choices[i]; i++) {
    bool end = i + 1 == ZT_MAX_CHOICES || !s->choices[i + 1];
    used += (size_t) snprintf(buffer + used, 128 - used, "%s\"%s\"",
                              i == 0 ? ""
                              : end  ? " or "
                                     : ", ",
                              s->choices[i]);
  }
}

const char *zt_setting_domain(const zt_setting *setting, char buffer[128]) {
  static const char *const range[] = {", 0 or more", ", more than 0",
                                      ", at least 0 and below 1"};
  char least[32], most[32];
  switch (setting->type) {
  case ZT_SETTING_BOOL:
    snprintf(buffer, 128, "true or false");
    break;
  case ZT_SETTING_INT:
    describe_integer(setting, buffer);
    break;
  case ZT_SETTING_REAL:
    snprintf(buffer, 128, "a number%s", range[setting->range]);
    break;
  case ZT_SETTING_STRING:
    snprintf(buffer, 128, "text in quotes");
    break;
  case ZT_SETTING_CHOICE:
    describe_choice(setting, buffer);
    break;
  case ZT_SETTING_BYTES:
    snprintf(buffer, 128, "a size such as \"64MiB\", from %s to %s",
             zt_human_bytes((double) setting->least, least),
             zt_human_bytes((double) setting->most, most));
    break;
  case ZT_SETTING_PAIR:
    snprintf(buffer, 128, "two numbers [a, b]%s", range[setting->range]);
    break;
  case ZT_SETTING_STRINGS:
    snprintf(buffer, 128, "text in quotes, or several in [ ]");
    break;
  case ZT_SETTING_REALS:
    snprintf(buffer, 128, "numbers in [ ], each%s", range[setting->range] + 1);
    break;
  }
  return buffer;
}
