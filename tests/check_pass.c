/* SPDX-License-Identifier: BSD-3-Clause */
/* A whole T5 pass: the same bits whether activations are kept or computed again
 * and however many stages it is cut into. */
#include "model/pass.h"

#include "base/random.h"
#include "device/device_check.h"
#include "device/device_cpu.h"
#include "numbers.h"
#include "train_unit.h"
#include "unit.h"

#include <stdio.h>

enum { SAMPLES = 3, SOURCE = 19, TARGET = 11 };

typedef struct batch {
  int32_t source[SAMPLES * SOURCE], valid[SAMPLES];
  int32_t target[SAMPLES * TARGET], labels[SAMPLES * TARGET];
} batch;

static batch make_batch(void) {
  batch b;
  for (uint64_t i = 0; i < SAMPLES * SOURCE; i++)
    b.source[i] = (int32_t) (numbers_bits(1, i) % 300);
  for (int s = 0; s < SAMPLES; s++)
    b.valid[s] = SOURCE - 6 * s;
  for (uint64_t i = 0; i < SAMPLES * TARGET; i++) {
    b.target[i] = (int32_t) (numbers_bits(2, i) % 300);
    b.labels[i] = i % 4 ? (int32_t) (numbers_bits(3, i) % 300) : -100;
  }
  return b;
}

/* All parameters one after the other: the canonical order does not depend on
 * how they are cut into units. */
static float *make_params(const zt_params *params) {
  float *flat = malloc((size_t) params->numel * sizeof *flat), *to = flat;
  for (int p = 0; p < params->count; p++)
    for (int64_t i = 0; i < params->list[p].numel; i++)
      *to++ = (float) (params->list[p].init.value +
                       params->list[p].init.std *
                           zt_normal(3, (uint64_t) p, (uint64_t) i));
  return flat;
}

/* Two micro-batches on one pass, so that what the first leaves would show. */
static double run(const zt_model *model, zt_device *dev, bool recompute,
                  double dropout, float *grads) {
  zt_pass_shape shape = {.samples = SAMPLES,
                         .source_length = model->family->encoder ? SOURCE : 0,
                         .target_length = TARGET,
                         .training = true,
                         .recompute = recompute,
                         .dropout = dropout};
  zt_pass_sizes big = {1 << 20, 1 << 23, 1 << 23, 1 << 20};
  batch b = make_batch();
  float *params = make_params(&model->params);
  int last = model->n_stages - 1;
  double loss;
  zt_pass *pass;
  ck_zt_ok(zt_pass_create(model, dev, &shape, &big, &pass));
  for (uint32_t step = 1; step <= 2; step++) {
    memset(grads, 0, (size_t) model->params.numel * sizeof *grads);
    ck_zt_ok(zt_pass_begin(pass, &(zt_pass_input){.source = b.source,
                                                  .source_valid = b.valid,
                                                  .target = b.target,
                                                  .labels = b.labels,
                                                  .seed = 3,
                                                  .step = step}));
    for (int s = 0; s <= last; s++) {
      int64_t at = model->params.units[model->stages[s].unit].start;
      ck_zt_ok(
          zt_pass_forward(pass, s, params + at, s == last ? grads + at : NULL));
    }
    for (int s = last - 1; s >= 0; s--) {
      int64_t at = model->params.units[model->stages[s].unit].start;
      ck_zt_ok(zt_pass_backward(pass, s, params + at, grads + at));
    }
    ck_zt_ok(zt_pass_loss(pass, &loss));
  }
  zt_pass_destroy(&pass);
  zt_pass_destroy(&pass);
  free(params);
  return loss;
}

/* Every way of running it against the first. */
START_TEST(ways_to_run_a_pass) {
  static const struct {
    const char *name;
    int64_t limit; /* every sublayer a unit */
  } models[] = {{"t5v10tiny", 25000},
                {"t5v11tiny", 25000},
                {"gpt2tiny", 37000},
                {"llamatiny", 33000}};
  double dropout = _i / 4 ? 0.1 : 0, wanted_loss = 0;
  float *wanted = NULL;
  zt_device *dev;
  ck_zt_ok(zt_device_cpu_create(2, &dev));
  ck_zt_ok(zt_device_check(dev));
  for (int way = 0; way < 4; way++) {
    zt_model *model =
        train_model(models[_i % 4].name, way / 2 ? models[_i % 4].limit : 0);
    size_t n = (size_t) model->params.numel;
    float *grads = malloc(n * sizeof *grads);
    double loss = run(model, dev, way % 2, dropout, grads);
    if (!wanted) {
      wanted = memcpy(malloc(n * sizeof *wanted), grads, n * sizeof *wanted);
      wanted_loss = loss;
      ck_assert(isfinite(loss) && loss > 0);
    }
    ck_assert_double_eq(loss, wanted_loss);
    int64_t at = numbers_differ(grads, wanted, (int64_t) n);
    ck_assert_msg(at < 0, "way %d: gradient of %s", way,
                  model->params.list[zt_params_at(&model->params, at)].name);
    free(grads);
    zt_model_destroy(&model);
  }
  free(wanted);
  zt_device_destroy(&dev);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("pass");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, ways_to_run_a_pass, 0, 8);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
