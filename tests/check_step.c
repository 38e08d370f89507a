/* SPDX-License-Identifier: BSD-3-Clause */
/* One optimizer step on one process: the loss does not depend on how the batch
 * is cut (P7), and a step that is not finite changes nothing. */
#include "comm/comm_mpi.h"
#include "device/device_check.h"
#include "device/device_cpu.h"
#include "numbers.h"
#include "scratch.h"
#include "train/state.h"
#include "train_unit.h"
#include "unit.h"

#include <stdio.h>

typedef struct fixture {
  zt_device *dev;
  zt_comm *comm;
  zt_tokens *tokens;
  zt_model *model;
  zt_step *step;
  zt_batch *batch;
} fixture;

static fixture open_fixture(const char *name, const zt_step_options *options) {
  fixture f;
  train_write_tokens(scratch_path("pairs.h5"));
  ck_zt_ok(zt_tokens_open(scratch_path("pairs.h5"), &f.tokens));
  ck_zt_ok(zt_device_cpu_create(1, &f.dev));
  ck_zt_ok(zt_device_check(f.dev));
  ck_zt_ok(zt_comm_mpi_create(MPI_COMM_SELF, &f.comm));
  f.model = train_model(name, 0);
  f.step = train_step(f.model, f.dev, f.comm, options);
  f.batch = train_batch(f.tokens, f.model, options);
  return f;
}

static void close_fixture(fixture *f) {
  zt_step_destroy(&f->step);
  zt_batch_destroy(&f->batch);
  zt_model_destroy(&f->model);
  zt_comm_destroy(&f->comm);
  zt_device_destroy(&f->dev);
  zt_tokens_close(&f->tokens);
}

static zt_step_result run(fixture *f, int64_t number) {
  zt_step_result result;
  ck_zt_ok(zt_step_run(f->step, f->batch, number, 1e-3, number, &result));
  return result;
}

/* Accumulated gradient of a parameter. */
static const float *gradient(const fixture *f, int param) {
  const zt_param *p = &f->model->params.list[param];
  return zt_zero3_sum(f->step->zero3, p->unit) + p->at;
}

/* ---- Cutting the batch ----
 *
 * With dropout too: what is dropped goes by the sample's index in the global
 * batch. */

static double *copy_gradients(const fixture *f) {
  const zt_params *params = &f->model->params;
  double *all = malloc((size_t) params->numel * sizeof *all), *to = all;
  for (int p = 0; p < params->count; p++)
    for (int64_t i = 0; i < params->list[p].numel; i++)
      *to++ = (double) gradient(f, p)[i];
  return all;
}

static double worst_gradient(const fixture *f, const double *wanted) {
  const zt_params *params = &f->model->params;
  double worst = 0;
  for (int p = 0; p < params->count; p++) {
    double error =
        numbers_distance(gradient(f, p), wanted, params->list[p].numel);
    ck_assert_msg(error <= 1e-5, "%s: %g", params->list[p].name, error);
    worst = fmax(worst, error);
    wanted += params->list[p].numel;
  }
  return worst;
}

START_TEST(loss_does_not_depend_on_cuts) {
  enum { BATCH = 8 };
  const char *const names[] = {"t5v10tiny", "t5v11tiny"};
  double *wanted = NULL, worst[3] = {0, 0, 0};
  zt_step_result whole = {0};
  for (int64_t micro = BATCH; micro > 0; micro /= 2) {
    zt_step_options options = train_options(BATCH, micro);
    options.pass.dropout = _i / 2 ? 0.1 : 0;
    fixture f = open_fixture(names[_i % 2], &options);
    zt_step_result r = run(&f, 1);
    ck_assert(r.finite && r.bad == -1);
    if (!wanted) {
      wanted = copy_gradients(&f);
      whole = r;
    }
    ck_assert_int_eq(f.step->micro_batches, BATCH / micro);
    ck_assert_int_eq(r.targets, whole.targets);
    ck_assert_int_eq(r.tokens, whole.tokens);
    worst[0] = fmax(worst[0], fabs(r.loss / whole.loss - 1));
    worst[1] = fmax(worst[1], fabs(r.grad_norm / whole.grad_norm - 1));
    worst[2] = fmax(worst[2], worst_gradient(&f, wanted));
    close_fixture(&f);
  }
  free(wanted);
  printf("%s cut%s: loss within %.1e, norm %.1e, gradients %.1e\n",
         names[_i % 2], _i / 2 ? ", dropout" : "", worst[0], worst[1],
         worst[2]);
  ck_assert_double_le(worst[0], 1e-6);
  ck_assert_double_le(worst[1], 1e-5);
}
END_TEST

/* ---- Steps that are not finite ---- */

/* The first parameter whose accumulated gradient is not finite. */
static int first_bad(const fixture *f) {
  const zt_params *params = &f->model->params;
  for (int p = 0; p < params->count; p++)
    for (int64_t i = 0; i < params->list[p].numel; i++)
      if (!isfinite(gradient(f, p)[i]))
        return p;
  return -1;
}

START_TEST(a_bad_step_changes_nothing) {
  zt_step_options options = train_options(4, 2);
  const float bad[] = {NAN, INFINITY, -INFINITY};
  fixture f = open_fixture("t5v11tiny", &options);
  zt_zero3 *z = f.step->zero3;
  run(&f, 1);
  for (int p = 1; p < f.model->params.count; p += 4) {
    const zt_param *param = &f.model->params.list[p];
    float *element = z->master + z->shard.at[param->unit] + param->at;
    uint64_t before, after;
    float kept = *element;
    *element = bad[p / 4 % 3];
    ck_zt_ok(zt_state_digest(z, 1, &before));
    zt_step_result r = run(&f, 2);
    ck_zt_ok(zt_state_digest(z, 1, &after));
    ck_assert_msg(!r.finite, "%s", param->name);
    ck_assert_int_ge(r.bad, 0);
    ck_assert_int_eq(r.bad, first_bad(&f));
    ck_assert_uint_eq(before, after);
    *element = kept;
  }
  ck_assert(run(&f, 2).finite);
  close_fixture(&f);
}
END_TEST

/* The state after a skipped step is that of a run without it. */
START_TEST(a_bad_step_leaves_no_trace) {
  zt_step_options options = train_options(4, 2);
  options.pass.dropout = 0.1;
  uint64_t digest[2];
  for (int skip = 0; skip < 2; skip++) {
    fixture f = open_fixture("t5v10tiny", &options);
    zt_zero3 *z = f.step->zero3;
    run(&f, 1);
    if (skip) {
      float *norm = z->master + z->shard.at[f.model->params.n_units - 1];
      float kept = *norm;
      *norm = NAN;
      ck_assert(!run(&f, 2).finite);
      *norm = kept;
    }
    zt_step_result r;
    ck_zt_ok(zt_step_run(f.step, f.batch, 3, 1e-3, 2, &r));
    ck_assert(r.finite);
    ck_zt_ok(zt_state_digest(z, 3, &digest[skip]));
    close_fixture(&f);
  }
  ck_assert_uint_eq(digest[0], digest[1]);
}
END_TEST

/* ---- What else a step says ---- */

START_TEST(dropout_and_data_depend_on_the_step) {
  zt_step_options options = train_options(4, 4);
  options.pass.dropout = 0.3;
  double loss[2][3];
  for (int seed = 0; seed < 2; seed++) {
    options.seed = (uint64_t) (5 + seed);
    fixture f = open_fixture("t5v11tiny", &options);
    for (int i = 0; i < 3; i++) { /* lr 0: the weights stay */
      zt_step_result r;
      ck_zt_ok(zt_step_run(f.step, f.batch, i == 2 ? 1 : i + 1, 0, 1, &r));
      loss[seed][i] = r.loss;
    }
    close_fixture(&f);
  }
  ck_assert_double_eq(loss[0][0], loss[0][2]);
  ck_assert_double_ne(loss[0][0], loss[0][1]);
  ck_assert_double_ne(loss[0][0], loss[1][0]);
}
END_TEST

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  scratch_begin("check_step");
  Suite *suite = suite_create("step");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, loss_does_not_depend_on_cuts, 0, 4);
  tcase_add_test(all, a_bad_step_changes_nothing);
  tcase_add_test(all, a_bad_step_leaves_no_trace);
  tcase_add_test(all, dropout_and_data_depend_on_the_step);
  suite_add_tcase(suite, all);
  int failed = unit_main(suite, CK_NOFORK);
  scratch_end();
  MPI_Finalize();
  return failed;
}
