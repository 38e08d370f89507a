/* SPDX-License-Identifier: BSD-3-Clause */
/* Learning rates by the names of parameters, and frozen ones. */
#include "train/rates.h"

#include "comm/comm_mpi.h"
#include "device/device_cpu.h"
#include "numbers.h"
#include "scratch.h"
#include "train_unit.h"
#include "unit.h"

#include <string.h>

static double *rates_of(const zt_model *model, const char *freeze,
                        const char *scales) {
  double *rates = malloc((size_t) model->params.count * sizeof *rates);
  ck_zt_ok(zt_param_rates(&model->params, freeze, scales, rates));
  return rates;
}

static double rate_of(const zt_model *model, const double *rates,
                      const char *name) {
  int index = zt_params_find(&model->params, name);
  ck_assert_int_ge(index, 0);
  return rates[index];
}

START_TEST(patterns) {
  static const char norm[] = "model.layers.0.input_layernorm.weight";
  static const char query[] = "model.layers.0.self_attn.q_proj.weight";
  zt_model *model = train_model("llamatiny", 0);
  double *rates = rates_of(model, "", NULL);
  for (int i = 0; i < model->params.count; i++)
    ck_assert_double_eq(rates[i], 1);
  free(rates);
  rates = rates_of(model, " model.embed_tokens.weight, *.1.*",
                   "*norm*=0.5 model.layers.*=2\tlm_head.weight=1e-2");
  ck_assert_double_eq(rate_of(model, rates, norm), 0.5);
  ck_assert_double_eq(rate_of(model, rates, query), 2);
  ck_assert_double_eq(rate_of(model, rates, "lm_head.weight"), 0.01);
  ck_assert_double_eq(rate_of(model, rates, "model.embed_tokens.weight"), 0);
  ck_assert_double_eq(
      rate_of(model, rates, "model.layers.1.input_layernorm.weight"), 0);
  free(rates);
  zt_model_destroy(&model);
}
END_TEST

static const struct {
  const char *freeze, *scales, *text;
} wrong[] = {{"shared", "", "no parameter is named \"shared\""},
             {"*", "", "all parameters are frozen"},
             {"", "*=0", "all parameters are frozen"},
             {"", "lm_head.weight", "is not PATTERN=FACTOR"},
             {"", "*=-1", "is not PATTERN=FACTOR"},
             {"", "*=nan", "is not PATTERN=FACTOR"},
             {"", "*=1x", "is not PATTERN=FACTOR"},
             {"", "x=1", "lr_scale: no parameter"}};

START_TEST(wrong_patterns) {
  zt_model *model = train_model("llamatiny", 0);
  double *rates = malloc((size_t) model->params.count * sizeof *rates);
  ck_zt_fails(
      zt_param_rates(&model->params, wrong[_i].freeze, wrong[_i].scales, rates),
      ZT_ERR_CONFIG);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), wrong[_i].text));
  free(rates);
  zt_model_destroy(&model);
}
END_TEST

/* ---- A step ---- */

typedef struct after {
  double norm, moved[2]; /* of the decoder's parameters and of the others */
} after;

static after run_step(const zt_model *model, const char *freeze,
                      const char *scales) {
  zt_device *dev;
  zt_comm *comm;
  zt_tokens *tokens;
  zt_step_result result;
  after a = {0};
  zt_step_options options = train_options(4, 2);
  options.optim.freeze = freeze;
  options.optim.lr_scale = scales;
  options.optim.weight_decay = 0;
  ck_zt_ok(zt_device_cpu_create(1, &dev));
  ck_zt_ok(zt_comm_mpi_create(MPI_COMM_SELF, &comm));
  train_open_tokens(model, scratch_path("pairs.h5"), &tokens);
  zt_step *step = train_step(model, dev, comm, &options);
  zt_batch *batch = train_batch(tokens, model, &options);
  int64_t n = step->zero3->shard.numel;
  float *before = malloc((size_t) n * sizeof *before);
  memcpy(before, step->zero3->master, (size_t) n * sizeof *before);
  ck_zt_ok(zt_step_run(step, batch, 1, 1e-3, 1, &result));
  a.norm = result.grad_norm;
  for (int p = 0; p < model->params.count; p++) {
    const zt_param *param = &model->params.list[p];
    int64_t at = step->zero3->shard.at[param->unit] + param->at;
    for (int64_t i = at; i < at + param->numel; i++) {
      double moved = fabs((double) step->zero3->master[i] - (double) before[i]);
      int other = !zt_starts_with(param->name, "decoder.");
      a.moved[other] = fmax(a.moved[other], moved);
    }
  }
  free(before);
  zt_batch_destroy(&batch);
  zt_step_destroy(&step);
  zt_tokens_close(&tokens);
  zt_comm_destroy(&comm);
  zt_device_destroy(&dev);
  return a;
}

/* The first update of Adam moves all that has a gradient by the rate. */
START_TEST(frozen_and_scaled) {
  zt_model *model = train_model("t5v11tiny", 0);
  after all = run_step(model, "", "");
  after frozen = run_step(model, "decoder.*", "");
  after rest = run_step(model, "[!d]*", "");
  after slow = run_step(model, "", "decoder.*=0.25");
  for (int i = 0; i < 2; i++)
    ck_assert_double_eq_tol(all.moved[i], 1e-3, 1e-6);
  ck_assert_double_eq(frozen.moved[0], 0);
  ck_assert_double_eq_tol(frozen.moved[1], 1e-3, 1e-6);
  ck_assert_double_eq(rest.moved[1], 0);
  ck_assert_double_eq_tol(slow.moved[0], 0.25e-3, 1e-6);
  ck_assert_double_eq_tol(slow.moved[1], 1e-3, 1e-6);
  ck_assert_double_eq(slow.norm, all.norm);
  ck_assert_double_eq_tol(frozen.norm * frozen.norm + rest.norm * rest.norm,
                          all.norm * all.norm, 1e-9 * all.norm * all.norm);
  zt_model_destroy(&model);
}
END_TEST

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  scratch_begin("check_rates");
  Suite *suite = suite_create("rates");
  TCase *tc = tcase_create("rates");
  tcase_set_timeout(tc, 60);
  tcase_add_test(tc, patterns);
  tcase_add_loop_test(tc, wrong_patterns, 0, sizeof wrong / sizeof *wrong);
  tcase_add_test(tc, frozen_and_scaled);
  suite_add_tcase(suite, tc);
  int rc = unit_main(suite, CK_NOFORK);
  scratch_end();
  MPI_Finalize();
  return rc;
}
