/* SPDX-License-Identifier: BSD-3-Clause */
/* The same bits on any number of ranks and threads (P2): each case runs on all
 * ranks together and on every rank alone. */
#include "device/device_check.h"
#include "mpi_unit.h"
#include "numbers.h"
#include "scratch.h"
#include "train/state.h"
#include "train_unit.h"

#include <stdio.h>

enum { STEPS = 3 };

typedef struct way {
  bool recompute;
  int prefetch, threads;
} way;

typedef struct course {
  double loss[STEPS], norm[STEPS];
  int64_t tokens[STEPS], targets[STEPS];
  uint64_t digest[STEPS];
} course;

static course run(zt_comm *on, const zt_model *model, zt_step_options options,
                  const way *w) {
  course c;
  zt_device *dev;
  zt_tokens *tokens;
  zt_step_result r;
  options.pass.recompute = w->recompute;
  options.prefetch = w->prefetch;
  train_open_tokens(model, scratch_path("tokens.h5"),
                    &tokens); /* each rank has its own */
  ck_zt_ok(zt_device_cpu_create(w->threads, &dev));
  ck_zt_ok(zt_device_check(dev));
  zt_step *step = train_step(model, dev, on, &options);
  zt_batch *batch = train_batch(tokens, model, &options);
  memset(&c, 0, sizeof c);
  for (int s = 0; s < STEPS; s++) {
    ck_zt_ok(zt_step_run(step, batch, s + 1, 1e-3, s + 1, &r));
    ck_assert(r.finite);
    c.loss[s] = r.loss;
    c.norm[s] = r.grad_norm;
    c.tokens[s] = r.tokens;
    c.targets[s] = r.targets;
    ck_zt_ok(zt_state_digest(step->zero3, s + 1, &c.digest[s]));
  }
  zt_batch_destroy(&batch);
  zt_step_destroy(&step);
  zt_device_destroy(&dev);
  zt_tokens_close(&tokens);
  return c;
}

static const struct {
  const char *model;
  int64_t unit_limit, batch, microbatch;
  double dropout;
  zt_dtype dtype;
} cases[] = {
    /* Ragged: the last round is not full. */
    {"t5v11tiny", 0, 7, 1, 0.1, ZT_FP32},
    /* Tied; two micro-batches on three ranks. */
    {"t5v10tiny", 0, 4, 2, 0.1, ZT_FP32},
    /* Sublayers as units; one micro-batch. */
    {"t5v11tiny", 25000, 1, 1, 0, ZT_FP32},
    /* Tied, sublayers, ragged. */
    {"t5v10tiny", 20000, 7, 1, 0.1, ZT_FP32},
    {"llamatiny", 0, 7, 1, 0.1, ZT_FP32},
    {"gpt2tiny", 0, 4, 2, 0.1, ZT_FP32},
    /* Half blocks as units. */
    {"gpt2tiny", 37000, 7, 1, 0, ZT_FP32},
    {"t5v11tiny", 25000, 7, 1, 0.1, ZT_BF16},
    {"gpt2tiny", 0, 4, 2, 0.1, ZT_BF16}};

static const way ways[] = {
    {true, 1, 1}, {false, 0, 1}, {true, 3, 2}, {false, 2, 2}, {true, 0, 1}};

START_TEST(ranks_and_threads_change_no_bits) {
  zt_model *model = train_model(cases[_i].model, cases[_i].unit_limit);
  zt_step_options options =
      train_options_of(model, cases[_i].batch, cases[_i].microbatch);
  options.pass.dropout = cases[_i].dropout;
  options.pass.dtype = cases[_i].dtype;
  course wanted = run(alone, model, options, &ways[0]);
  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
    if (w > 2 && !numbers_long())
      break;
    course got = run(comm, model, options, &ways[w]);
    for (int s = 0; s < STEPS; s++)
      ck_assert_msg(wanted.digest[s] == got.digest[s],
                    "case %d, way %zu, step %d: loss %.17g, alone %.17g", _i, w,
                    s + 1, got.loss[s], wanted.loss[s]);
    ck_assert_mem_eq(&got, &wanted, sizeof got);
  }
  zt_model_destroy(&model);
}
END_TEST

/* ---- bf16 ---- */

static void ck_vectors(zt_zero3 *z, const zt_zero3 *whole) {
  const void *unit;
  zt_zero3_forget_units(z);
  ck_zt_ok(zt_zero3_plan_visits(z, (int[]){1}, 1));
  ck_zt_ok(zt_zero3_visit(z, &unit));
  for (int i = 0; i < z->model->params.count; i++) {
    const zt_param *p = &z->model->params.list[i];
    if (p->ndim == 1)
      ck_assert_mem_eq(z->vectors + p->vector,
                       whole->master + whole->shard.at[p->unit] + p->at,
                       (size_t) p->numel * sizeof(float));
  }
}

/* Vectors have the owners' bits before an update and after it. */
START_TEST(vectors_are_not_rounded) {
  zt_model *model =
      _i ? train_model("gpt2tiny", 0) : train_model("t5v11tiny", 25000);
  zt_step_options options = train_options_of(model, 4, 1);
  zt_device *dev;
  zt_tokens *tokens;
  zt_step_result r;
  options.pass.dtype = ZT_BF16;
  ck_zt_ok(zt_device_cpu_create(1, &dev));
  train_open_tokens(model, scratch_path("tokens.h5"), &tokens);
  zt_step *whole = train_step(model, dev, alone, &options);
  zt_step *step = train_step(model, dev, comm, &options);
  zt_batch *batch = train_batch(tokens, model, &options);
  ck_vectors(step->zero3, whole->zero3);
  ck_zt_ok(zt_step_run(whole, batch, 1, 1e-5, 1, &r));
  ck_zt_ok(zt_step_run(step, batch, 1, 1e-5, 1, &r));
  ck_vectors(step->zero3, whole->zero3);
  zt_batch_destroy(&batch);
  zt_step_destroy(&step);
  zt_step_destroy(&whole);
  zt_tokens_close(&tokens);
  zt_device_destroy(&dev);
  zt_model_destroy(&model);
}
END_TEST

/* ---- Steps that are not finite ---- */

/* With a NaN in one parameter, on whichever rank that lies. */
static zt_step_result run_bad(zt_comm *on, const zt_model *model,
                              zt_device *dev, zt_tokens *tokens, int param) {
  zt_step_options options = train_options(4, 1);
  zt_step *step = train_step(model, dev, on, &options);
  zt_batch *batch = train_batch(tokens, model, &options);
  zt_zero3 *z = step->zero3;
  const zt_param *p = &model->params.list[param];
  int64_t slice = z->shard.slice[p->unit];
  int64_t at = p->at + p->numel - 1 - slice * on->rank;
  if (at >= 0 && at < slice)
    z->master[z->shard.at[p->unit] + at] = NAN;
  uint64_t before, after;
  zt_step_result r;
  ck_zt_ok(zt_state_digest(z, 0, &before));
  ck_zt_ok(zt_step_run(step, batch, 1, 1e-3, 1, &r));
  ck_zt_ok(zt_state_digest(z, 0, &after));
  ck_assert_uint_eq(before, after);
  zt_batch_destroy(&batch);
  zt_step_destroy(&step);
  return r;
}

START_TEST(all_ranks_skip_together) {
  zt_model *model = train_model("t5v10tiny", 0);
  zt_device *dev;
  zt_tokens *tokens;
  ck_zt_ok(zt_device_cpu_create(1, &dev));
  train_open_tokens(model, scratch_path("tokens.h5"), &tokens);
  for (int p = 1; p < model->params.count; p += 9) {
    zt_step_result together = run_bad(comm, model, dev, tokens, p);
    zt_step_result by_myself = run_bad(alone, model, dev, tokens, p);
    ck_assert(!together.finite && !by_myself.finite);
    ck_assert_int_ge(together.bad, 0);
    ck_assert_int_eq(together.bad, by_myself.bad);
  }
  zt_tokens_close(&tokens);
  zt_device_destroy(&dev);
  zt_model_destroy(&model);
}
END_TEST

/* A file that one rank cannot read stops all, before any of them computes. */
START_TEST(a_rank_without_data_stops_all) {
  zt_model *model = train_model("t5v10tiny", 0);
  zt_device *dev;
  zt_tokens *tokens;
  zt_step_result r;
  zt_step_options options = train_options(4, 1);
  train_open_tokens(model, scratch_path("tokens.h5"), &tokens);
  ck_zt_ok(zt_device_cpu_create(1, &dev));
  zt_step *step = train_step(model, dev, comm, &options);
  zt_batch *batch = train_batch(tokens, model, &options);
  if (comm->rank == 1 % comm->size)
    ck_assert_int_eq(truncate(zt_tokens_path(tokens), 64), 0);
  zt_status status = zt_step_run(step, batch, 1, 1e-3, 1, &r);
  ck_assert_int_eq(status, ZT_ERR_IO);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "tokens.h5"));
  zt_batch_destroy(&batch);
  zt_step_destroy(&step);
  zt_tokens_close(&tokens);
  zt_device_destroy(&dev);
  zt_model_destroy(&model);
}
END_TEST

static Suite *make_suite(void) {
  scratch_begin("check_ranks");
  Suite *suite = suite_create("ranks");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 120);
  tcase_add_loop_test(all, ranks_and_threads_change_no_bits, 0,
                      sizeof cases / sizeof *cases);
  tcase_add_loop_test(all, vectors_are_not_rounded, 0, 2);
  tcase_add_test(all, all_ranks_skip_together);
  tcase_add_test(all, a_rank_without_data_stops_all);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  int failed = mpi_unit_main(argc, argv, make_suite);
  scratch_end();
  return failed;
}
