/* SPDX-License-Identifier: BSD-3-Clause */
/* Greedy generation under ZeRO-3: the reference's tokens on any number of
 * ranks, however many prompts there are and however long. */
#include "train/generate.h"

#include "base/json.h"
#include "comm/agree.h"
#include "device/device_check.h"
#include "golden.h"
#include "io/hfdir.h"
#include "mpi_unit.h"
#include "numbers.h"
#include "scratch.h"
#include "train/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SAMPLES = 2, SOURCE = 24, NEW = 16, MOST = 11, PROMPT = 8 };

/* Weights of tests/golden, and what the reference makes of them. */
typedef struct reference {
  const char *name, *weights, *tokens;
} reference;

static const reference references[] = {
    {"t5v10tiny", "model.safetensors", "greedy_step0"},
    {"t5v11tiny", "model.safetensors", "greedy_step0"},
    {"t5v11tiny", "after10.safetensors", "greedy_after10"}, /* these end */
    {"gpt2tiny", "model.safetensors", "greedy_step0"},
    {"gpt2tiny", "after10.safetensors", "greedy_after10"},
    {"llamatiny", "model.safetensors", "greedy_step0"},
    {"llamatiny", "after10.safetensors", "greedy_after10"}};

typedef struct fixture {
  reference r;
  zt_device *dev;
  zt_source *source;
  zt_model *model;
} fixture;

static bool link_golden(const reference *r, const char *file, const char *as) {
  char target[PATH_MAX];
  scratch_remove(scratch_path(as));
  return realpath(golden_path(r->name, file), target) &&
         symlink(target, scratch_path(as)) == 0;
}

/* A model directory with those weights, for all ranks. */
static const char *make_directory(const reference *r) {
  ck_zt_ok(zt_comm_broadcast(comm, scratch, sizeof scratch, 0));
  zt_status status = ZT_OK;
  if (comm->rank == 0 && !(link_golden(r, r->weights, "model.safetensors") &&
                           link_golden(r, "config.json", "config.json")))
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot link", scratch);
  ck_zt_ok(zt_agree(comm, status));
  return scratch;
}

static fixture open_fixture(const reference *r) {
  fixture f = {.r = *r};
  ck_zt_ok(zt_device_cpu_create(1, &f.dev));
  ck_zt_ok(zt_device_check(f.dev));
  ck_zt_ok(zt_hfdir_open(make_directory(r), comm, &f.source));
  ck_zt_ok(zt_weights_model(f.source, 0, &f.model, NULL));
  return f;
}

static void close_fixture(fixture *f) {
  zt_model_destroy(&f->model);
  zt_source_close(&f->source);
  zt_device_destroy(&f->dev);
}

/* Tokens of prompts one after the other. */
typedef struct prompts {
  int64_t start[MOST + 1];
  int32_t ids[MOST * SOURCE];
  zt_sequences list;
} prompts;

static void add_prompt(prompts *p, const int32_t *ids, int64_t n) {
  int64_t at = p->start[p->list.count];
  memcpy(p->ids + at, ids, (size_t) n * sizeof *ids);
  p->start[++p->list.count] = at + n;
  p->list.start = p->start;
  p->list.ids = p->ids;
}

/* The reference's two prompts, by turns: without an encoder, what the first
 * step's samples begin with. */
static void add_golden(prompts *p, const char *name, int count) {
  enum { STEPS = 10 };
  int64_t total;
  golden_file io = golden_open(name, "io");
  const int32_t *ids = golden_tensor(&io, "input_ids", &total);
  const int32_t *mask = golden_tensor(&io, "attention_mask", NULL);
  int64_t length = total / STEPS / SAMPLES;
  for (int i = 0; i < count; i++) {
    int64_t sample = i % SAMPLES, n = mask ? 0 : PROMPT;
    while (mask && n < length && mask[sample * length + n])
      n++;
    add_prompt(p, ids + sample * length, n);
  }
  golden_close(&io);
}

static zt_sequences generate(const fixture *f, const prompts *p, int64_t batch,
                             int64_t most, int prefetch) {
  zt_sequences results;
  zt_generate_spec spec = {.batch = batch,
                           .max_new_tokens = most,
                           .prefetch = prefetch,
                           .agree_every = 1 + batch % 4};
  ck_zt_ok(zt_generate(f->model, f->dev, comm, f->source, &p->list, &spec,
                       &results, NULL));
  ck_assert_int_eq(results.count, p->list.count);
  return results;
}

/* The reference begins with the start id or the prompt, and pads after the
 * end. */
static void compare(const fixture *f, const zt_sequences *results,
                    int64_t most) {
  json_t *golden;
  ck_zt_ok(
      zt_json_read(golden_path(f->r.name, "golden.json"), 1 << 24, &golden));
  json_t *wanted = json_object_get(golden, f->r.tokens);
  int64_t skip = f->model->family->encoder ? 1 : PROMPT;
  for (int64_t i = 0; i < results->count; i++) {
    json_t *row = json_array_get(wanted, (size_t) (i % SAMPLES));
    int64_t at = results->start[i], n = results->start[i + 1] - at;
    ck_assert_int_ge(n, 1);
    ck_assert(n == most || results->ids[at + n - 1] == f->model->shape.eos_id);
    for (int64_t t = 0; t < n; t++)
      ck_assert_int_eq(results->ids[at + t], json_integer_value(json_array_get(
                                                 row, (size_t) (t + skip))));
  }
  json_decref(golden);
}

static const struct {
  int prompts;
  int64_t batch, most;
  int prefetch;
} cases[] = {{2, 2, NEW, 1}, {1, 4, NEW, 0}, {7, 1, 5, 1},
             {11, 3, 3, 3},  {2, 1, 1, 2},   {3, 8, NEW, 1}};

START_TEST(greedy_tokens_are_the_references) {
  fixture f = open_fixture(&references[_i]);
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    prompts p = {0};
    add_golden(&p, f.r.name, cases[c].prompts);
    zt_sequences results =
        generate(&f, &p, cases[c].batch, cases[c].most, cases[c].prefetch);
    compare(&f, &results, cases[c].most);
    zt_sequences_free(&results);
  }
  close_fixture(&f);
}
END_TEST

/* Prompts of all lengths, up to SOURCE. */
static void add_ragged(prompts *p) {
  for (int i = 0; i < MOST; i++) {
    int32_t ids[SOURCE];
    int n = 1 + i * 7 % SOURCE;
    for (int t = 0; t < n; t++)
      ids[t] = (int32_t) (3 + numbers_bits((uint64_t) i, (uint64_t) t) % 300);
    add_prompt(p, ids, n);
  }
}

/* What stands beside a prompt in its batch does not change what it gives. */
START_TEST(prompts_do_not_see_each_other) {
  fixture f = open_fixture(&references[1 + 2 * _i]); /* a T5, GPT-2, Llama */
  prompts all = {0};
  add_ragged(&all);
  zt_sequences together = generate(&f, &all, 3, 6, 1);
  for (int64_t i = 0; i < MOST; i += 3) {
    prompts one = {0};
    add_prompt(&one, all.ids + all.start[i], all.start[i + 1] - all.start[i]);
    zt_sequences by_itself = generate(&f, &one, 1, 6, 1);
    int64_t n = by_itself.start[1];
    ck_assert_int_eq(together.start[i + 1] - together.start[i], n);
    ck_assert_mem_eq(together.ids + together.start[i], by_itself.ids,
                     (size_t) n * sizeof *by_itself.ids);
    zt_sequences_free(&by_itself);
  }
  zt_sequences_free(&together);
  close_fixture(&f);
}
END_TEST

/* Ends texts at lengths of their own. */
static zt_status end_early(void *context, int64_t prompt, const int32_t *ids,
                           int64_t n, bool *end) {
  (void) context;
  ck_assert_int_ge(ids[n - 1], 0);
  *end = *end || n == 1 + prompt * 5 % NEW;
  return ZT_OK;
}

static uint64_t hash_of(const zt_sequences *s) {
  uint64_t hash = 0;
  for (int64_t i = 0; i < s->count; i++)
    for (int64_t t = s->start[i]; t <= s->start[i + 1]; t++)
      hash = (hash ^ (uint64_t) (t < s->start[i + 1] ? s->ids[t] : -1)) *
             UINT64_C(0x9E3779B97F4A7C15);
  return hash;
}

/* Drawn tokens are those of one slot on one rank, whatever slots, ranks and
 * agreements there are, and also with texts of very unequal lengths. */
START_TEST(draws_do_not_depend_on_ranks) {
  static const struct {
    int64_t batch, agree_every;
  } ways[] = {{1, 1}, {2, 3}, {5, 4}, {16, 100}, {3, 0}};
  fixture f = open_fixture(&references[1 + 2 * _i]);
  prompts p = {0};
  add_ragged(&p);
  uint64_t wanted = 0;
  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
    zt_sequences results;
    zt_generate_report report;
    zt_generate_spec spec = {
        .batch = ways[w].batch,
        .max_new_tokens = NEW,
        .agree_every = ways[w].agree_every,
        .min_new_tokens = 2,
        .prefetch = 1,
        .sampling = {.temperature = 1.5, .top_k = 40, .top_p = 0.9, .seed = 7},
        .token = end_early};
    ck_zt_ok(zt_generate(f.model, f.dev, comm, f.source, &p.list, &spec,
                         &results, &report));
    for (int64_t i = 0; i < MOST; i++)
      ck_assert_int_le(results.start[i + 1] - results.start[i],
                       1 + i * 5 % NEW);
    ck_assert_int_eq(report.tokens, results.start[MOST]);
    ck_assert(report.idle >= 0 && report.idle < 1);
    if (w == 0)
      wanted = hash_of(&results);
    ck_assert(hash_of(&results) == wanted);
    zt_sequences_free(&results);
  }
  int64_t same[2] = {(int64_t) (wanted >> 1), -(int64_t) (wanted >> 1)};
  ck_zt_ok(zt_comm_all_reduce(comm, same, 2, ZT_MAX));
  ck_assert(same[0] == -same[1]);
  if (comm->rank == 0)
    printf("%s: drawn %016" PRIx64 "\n", f.r.name, wanted);
  close_fixture(&f);
}
END_TEST

/* A learned table of positions has an end. */
START_TEST(too_many_positions) {
  fixture f = open_fixture(&references[3]);
  const int64_t positions = f.model->shape.positions;
  prompts p = {0};
  zt_sequences results;
  add_golden(&p, f.r.name, 1);
  zt_generate_spec spec = {.batch = 1, .prefetch = 1};
  spec.max_new_tokens = positions - PROMPT + 1; /* the last is not read again */
  ck_zt_ok(zt_generate(f.model, f.dev, comm, f.source, &p.list, &spec, &results,
                       NULL));
  zt_sequences_free(&results);
  spec.max_new_tokens++;
  ck_zt_fails(zt_generate(f.model, f.dev, comm, f.source, &p.list, &spec,
                          &results, NULL),
              ZT_ERR_DATA);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "--max-new-tokens"));
  close_fixture(&f);
}
END_TEST

START_TEST(no_prompt_at_all) {
  fixture f = open_fixture(&references[0]);
  prompts none = {0};
  zt_sequences results = generate(&f, &none, 2, NEW, 1);
  ck_assert_int_eq(results.start[0], 0);
  zt_sequences_free(&results);
  zt_sequences_free(&results);
  close_fixture(&f);
}
END_TEST

START_TEST(wrong_prompts_are_refused) {
  fixture f = open_fixture(&references[0]);
  zt_generate_spec spec = {.batch = 2, .max_new_tokens = 4, .prefetch = 1};
  const int32_t bad[] = {-1, (int32_t) f.model->shape.vocabulary, INT32_MAX};
  zt_sequences results;
  for (int i = 0; i < 4; i++) {
    prompts p = {0};
    add_golden(&p, "t5v10tiny", 2);
    add_prompt(&p, &bad[i % 3], i < 3 ? 1 : 0); /* the last one: empty */
    ck_zt_fails(zt_generate(f.model, f.dev, comm, f.source, &p.list, &spec,
                            &results, NULL),
                ZT_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(zt_last_error(), "prompt 2"));
  }
  close_fixture(&f);
}
END_TEST

static void begin(void) {
  if (comm->rank == 0)
    scratch_begin("check_generate");
}

static void end(void) {
  if (comm->rank == 0)
    scratch_end();
}

static Suite *make_suite(void) {
  Suite *suite = suite_create("generate");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_unchecked_fixture(all, begin, end);
  tcase_add_loop_test(all, greedy_tokens_are_the_references, 0,
                      sizeof references / sizeof *references);
  tcase_add_loop_test(all, prompts_do_not_see_each_other, 0, 3);
  tcase_add_loop_test(all, draws_do_not_depend_on_ranks, 0, 3);
  tcase_add_test(all, too_many_positions);
  tcase_add_test(all, no_prompt_at_all);
  tcase_add_test(all, wrong_prompts_are_refused);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  return mpi_unit_main(argc, argv, make_suite);
}
