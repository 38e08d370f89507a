/* SPDX-License-Identifier: BSD-3-Clause */
/* Adafactor against its formulas in double precision, with tensors cut anywhere
 * by ranks, and against Hugging Face Transformers on a small T5. */
#include "train/optim.h"

#include "base/json.h"
#include "device/device_check.h"
#include "golden.h"
#include "model/pass.h"
#include "mpi_unit.h"
#include "numbers.h"
#include "train_unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Formulas ---- */

enum { STEPS = 3 };

typedef struct fixture {
  zt_device *dev;
  zt_model *model;
  zt_step *step;
  zt_zero3 *z;
  zt_optim_options options;
} fixture;

static zt_optim_options plain_options(void) {
  return (zt_optim_options){.kind = ZT_ADAFACTOR,
                            .adafactor = {.decay_rate = 0.8,
                                          .clip_threshold = 1,
                                          .eps1 = 1e-30,
                                          .eps2 = 1e-3,
                                          .scale_parameter = true}};
}

static fixture open_fixture(const zt_optim_options *options) {
  fixture f = {.options = *options};
  zt_step_options step = train_options(4, 2);
  step.optim = *options;
  ck_zt_ok(zt_device_cpu_create(2, &f.dev));
  f.model = train_model("t5v10tiny", 0);
  f.step = train_step(f.model, f.dev, comm, &step);
  f.z = f.step->zero3;
  return f;
}

static void close_fixture(fixture *f) {
  zt_step_destroy(&f->step);
  zt_model_destroy(&f->model);
  zt_device_destroy(&f->dev);
}

/* Rows of very different size, some of zeros, and numbers near both ends. */
static float gradient_of(const zt_param *p, int param, int step, int64_t i) {
  uint64_t seed = (uint64_t) (100 * step + param);
  int64_t row = p->ndim == 2 ? i / p->dims[1] : i;
  double u = numbers_uniform(seed, (uint64_t) i);
  if (row % 7 == 3)
    return 0;
  if (param == 1)
    return (float) ldexp(u, -140); /* nothing beside eps1 */
  return (float) ldexp(u, (int) (row % 5) * -9);
}

/* One tensor, all of it. */
static void update_reference(const zt_optim_options *o, const zt_param *p,
                             int param, int step, double scale, double lr,
                             double *statistics, double *w) {
  const bool factored = p->ndim == 2;
  const int64_t rows = factored ? p->dims[0] : p->numel;
  const int64_t columns = factored ? p->dims[1] : 1;
  const double beta2 = 1 - pow(step, -o->adafactor.decay_rate);
  double *row = statistics, *column = statistics + rows, mean = 0;
  double *u = calloc((size_t) p->numel, sizeof *u), squares = 0, sum = 0;
  double *new_row = calloc((size_t) rows, sizeof *u);
  double *new_column = calloc((size_t) columns, sizeof *u);
  for (int64_t i = 0; i < p->numel; i++) {
    u[i] = (double) gradient_of(p, param, step, i) * scale;
    new_row[i / columns] += u[i] * u[i] / (double) columns;
    new_column[i % columns] += u[i] * u[i] / (double) rows;
    sum += w[i] * w[i];
  }
  for (int64_t r = 0; r < rows; r++) {
    row[r] = beta2 * row[r] + (1 - beta2) * (new_row[r] + o->adafactor.eps1);
    mean += row[r] / (double) rows;
  }
  for (int64_t c = 0; factored && c < columns; c++)
    column[c] =
        beta2 * column[c] + (1 - beta2) * (new_column[c] + o->adafactor.eps1);
  for (int64_t i = 0; i < p->numel; i++) {
    u[i] /= factored ? sqrt(row[i / columns] / mean * column[i % columns])
                     : sqrt(row[i]);
    squares += u[i] * u[i];
  }
  double rms = sqrt(squares / (double) p->numel);
  double clip = fmax(1, rms / o->adafactor.clip_threshold);
  if (o->adafactor.scale_parameter)
    lr *= fmax(o->adafactor.eps2, sqrt(sum / (double) p->numel));
  double decay = o->decay_all || p->decay ? 1 - lr * o->weight_decay : 1;
  for (int64_t i = 0; i < p->numel; i++)
    w[i] = w[i] * decay - lr * u[i] / clip;
  free(u);
  free(new_row);
  free(new_column);
}

/* Calls with the place in the shard of every element of a parameter here. */
static void each_element(const fixture *f, int param,
                         void (*visit)(float *at, int64_t i, void *context),
                         float *of_unit, void *context) {
  const zt_param *p = &f->model->params.list[param];
  int64_t slice = f->z->shard.slice[p->unit];
  for (int64_t i = 0; i < p->numel; i++) {
    int64_t at = p->at + i - slice * f->z->shard.rank;
    if (at >= 0 && at < slice)
      visit(of_unit + at, i, context);
  }
}

typedef struct filling {
  const zt_param *p;
  int param, step;
} filling;

static void put_gradient(float *at, int64_t i, void *context) {
  const filling *fill = context;
  *at = gradient_of(fill->p, fill->param, fill->step, i);
}

typedef struct comparing {
  const double *wanted;
  double worst, largest;
} comparing;

static void compare(float *at, int64_t i, void *context) {
  comparing *c = context;
  c->worst = fmax(c->worst, fabs((double) *at - c->wanted[i]));
  c->largest = fmax(c->largest, fabs(c->wanted[i]));
}

static void take_step(fixture *f, int step, double lr) {
  ck_zt_ok(zt_zero3_begin_step(f->z));
  for (int i = 0; i < f->model->params.count; i++) {
    const zt_param *p = &f->model->params.list[i];
    filling fill = {.p = p, .param = i, .step = step};
    each_element(f, i, put_gradient, zt_zero3_sum(f->z, p->unit), &fill);
  }
  ck_zt_ok(zt_optim_update(f->step->optim, 1, 2, lr, step));
}

static void check_tensor(fixture *f, int param, const double *wanted) {
  const zt_param *p = &f->model->params.list[param];
  comparing c = {.wanted = wanted};
  each_element(f, param, compare, f->z->master + f->z->shard.at[p->unit], &c);
  ck_assert_msg(c.worst <= 1e-6 * fmax(1, c.largest), "%s differs by %g",
                p->name, c.worst);
}

static void check_options(const zt_optim_options *options) {
  fixture f = open_fixture(options);
  const zt_params *params = &f.model->params;
  const double lr = 0.05, scale = (double) (float) 0.5;
  double *statistics = calloc((size_t) zt_adafactor_statistics(params), 8);
  double *w = calloc((size_t) params->numel, sizeof *w);
  int64_t place = 0;
  zt_step_options alone_options = train_options(4, 2);
  zt_step *whole = train_step(f.model, f.dev, alone, &alone_options);
  for (int u = 0; u < params->n_units; u++)
    for (int64_t i = 0; i < params->units[u].numel; i++)
      w[params->units[u].start + i] =
          (double) whole->zero3->master[whole->zero3->shard.at[u] + i];
  zt_step_destroy(&whole);
  for (int step = 1; step <= STEPS; step++) {
    take_step(&f, step, lr);
    place = 0;
    for (int i = 0; i < params->count; i++) {
      const zt_param *p = &params->list[i];
      bool frozen = options->freeze && !strncmp(p->name, "encoder", 7);
      double *own = w + params->units[p->unit].start + p->at;
      if (!frozen)
        update_reference(options, p, i, step, scale, lr, statistics + place,
                         own);
      place += p->ndim == 2 ? p->dims[0] + p->dims[1] : p->numel;
      check_tensor(&f, i, own);
    }
  }
  ck_assert_int_eq(place, f.z->options.statistics);
  for (int64_t i = 0; i < place; i++)
    ck_assert_double_le(fabs((double) f.z->statistics[i] - statistics[i]),
                        1e-6 * statistics[i] + 1e-45);
  free(statistics);
  free(w);
  close_fixture(&f);
}

START_TEST(steps_follow_the_formulas) {
  zt_optim_options options = plain_options();
  check_options(&options);
  options.adafactor.scale_parameter = false;
  options.adafactor.clip_threshold = 0.3;
  options.adafactor.decay_rate = 0.5;
  options.weight_decay = 0.1;
  check_options(&options);
  options.freeze = "encoder.*";
  options.decay_all = true;
  check_options(&options);
}
END_TEST

/* What a restart holds: the parameters where they were, then the rest. */
START_TEST(statistics_are_stored_behind_the_parameters) {
  zt_model *model = train_model("t5v11tiny", 0);
  zt_params stored;
  ck_zt_ok(zt_adafactor_stored(&model->params, &stored));
  const zt_unit *last = &stored.units[stored.n_units - 1];
  ck_assert_int_eq(stored.n_units, model->params.n_units + 1);
  ck_assert_int_eq(last->start, model->params.numel);
  ck_assert_int_eq(last->numel, zt_adafactor_statistics(&model->params));
  int row = zt_params_find(&stored, "lm_head.weight.exp_avg_sq_row");
  int column = zt_params_find(&stored, "lm_head.weight.exp_avg_sq_col");
  ck_assert_int_eq(stored.list[row].numel, 384);
  ck_assert_int_eq(stored.list[column].numel, 64);
  ck_assert_int_ge(zt_params_find(&stored, "encoder.final_layer_norm.weight."
                                           "exp_avg_sq"),
                   0);
  zt_params_free(&stored);
  zt_model_destroy(&model);
}
END_TEST

/* ---- Transformers ---- */

enum { SAMPLES = 2, SOURCE = 24, TARGET = 12, TEN = 10 };

typedef struct trial {
  const char *name;
  zt_optim_options options;
  double lr;
  float smoothing, z_loss;
  bool relative;
} trial;

static void read_inputs(const golden_file *io, int step, int32_t *valid,
                        int32_t *target, zt_pass_input *in) {
  const int32_t *mask = golden_tensor(io, "attention_mask", NULL);
  const int32_t *ids = golden_tensor(io, "input_ids", NULL);
  const int32_t *labels = golden_tensor(io, "labels", NULL);
  mask += step * SAMPLES * SOURCE;
  labels += step * SAMPLES * TARGET;
  for (int s = 0; s < SAMPLES; s++) {
    valid[s] = 0;
    for (int i = 0; i < SOURCE; i++)
      valid[s] += mask[s * SOURCE + i];
    for (int i = 0; i < TARGET; i++) {
      int32_t before = i ? labels[s * TARGET + i - 1] : 0;
      target[s * TARGET + i] = before < 0 ? 0 : before;
    }
  }
  *in = (zt_pass_input){.source = ids + step * SAMPLES * SOURCE,
                        .source_valid = valid,
                        .target = target,
                        .labels = labels};
}

/* With one rank a unit is its own slice. */
static void forward_and_backward(zt_step *step, const zt_pass_input *in,
                                 double sums[2]) {
  const zt_zero3 *z = step->zero3;
  const zt_model *model = z->model;
  int last = model->n_stages - 1;
  ck_zt_ok(zt_zero3_begin_step(step->zero3));
  ck_zt_ok(zt_pass_begin(step->pass, in));
  for (int s = 0; s <= last; s++) {
    int unit = model->stages[s].unit;
    ck_zt_ok(zt_pass_forward(step->pass, s, z->master + z->shard.at[unit],
                             s == last ? z->accumulated[s] : NULL));
  }
  for (int s = last - 1; s >= 0; s--) {
    int unit = model->stages[s].unit;
    ck_zt_ok(zt_pass_backward(step->pass, s, z->master + z->shard.at[unit],
                              z->accumulated[s]));
  }
  ck_zt_ok(zt_zero3_finish(step->zero3));
  ck_zt_ok(zt_pass_loss(step->pass, &sums[0]));
  ck_zt_ok(zt_pass_loss_terms(step->pass, &sums[1]));
}

static void near(const char *of, const char *what, double is, json_t *list,
                 int index) {
  double wanted = json_number_value(json_array_get(list, (size_t) index));
  ck_assert_msg(fabs(is - wanted) <= 1e-5 * fabs(wanted),
                "%s: %s of step %d: %.9g, not %.9g", of, what, index + 1, is,
                wanted);
}

static void check_parameters(const trial *r, const zt_zero3 *z,
                             json_t *wanted) {
  double worst = 0;
  for (int i = 0; i < z->model->params.count; i++) {
    const zt_param *p = &z->model->params.list[i];
    json_t *list = json_object_get(wanted, p->name);
    int64_t stride = p->numel / 24 > 0 ? p->numel / 24 : 1;
    const float *values = z->master + z->shard.at[p->unit] + p->at;
    ck_assert_int_gt((int) json_array_size(list), 0);
    for (size_t k = 0; k < json_array_size(list); k++)
      worst = fmax(worst, fabs((double) values[(int64_t) k * stride] -
                               json_number_value(json_array_get(list, k))));
  }
  printf("%s: parameters after ten steps within %.1e\n", r->name, worst);
  ck_assert_msg(worst <= 2e-5, "%s: parameters differ by %g", r->name, worst);
}

static void load_weights(zt_zero3 *z) {
  golden_file g = golden_open("t5v10tiny", "model");
  for (int i = 0; i < z->model->params.count; i++) {
    const zt_param *p = &z->model->params.list[i];
    memcpy(z->master + z->shard.at[p->unit] + p->at,
           golden_tensor(&g, p->name, NULL), (size_t) p->numel * sizeof(float));
  }
  golden_close(&g);
}

static void follow(const trial *r, json_t *golden) {
  zt_step_options options = train_options(SAMPLES, SAMPLES);
  zt_device *dev;
  golden_file io = golden_open("t5v10tiny", "io");
  zt_model *model = train_model("t5v10tiny", 0);
  options.optim = r->options;
  options.pass.label_smoothing = (double) r->smoothing;
  options.pass.z_loss = (double) r->z_loss;
  ck_zt_ok(zt_device_cpu_create(1, &dev));
  ck_zt_ok(zt_device_check(dev));
  zt_step *step = train_step(model, dev, alone, &options);
  load_weights(step->zero3);
  for (int s = 0; s < TEN; s++) {
    int32_t valid[SAMPLES], target[SAMPLES * TARGET];
    zt_pass_input in;
    double sums[2], norm;
    int bad, targets = 0;
    read_inputs(&io, s, valid, target, &in);
    for (int i = 0; i < SAMPLES * TARGET; i++)
      targets += in.labels[i] >= 0;
    forward_and_backward(step, &in, sums);
    near(r->name, "loss", sums[0] / targets, json_object_get(golden, "losses"),
         s);
    near(r->name, "objective", (sums[0] + sums[1]) / targets,
         json_object_get(golden, "objectives"), s);
    ck_zt_ok(zt_optim_norm(step->optim, targets, &norm, &bad));
    near(r->name, "norm", norm, json_object_get(golden, "grad_norms"), s);
    double lr = r->relative ? fmin(1e-2, 1 / sqrt(s + 1)) : r->lr;
    ck_zt_ok(zt_optim_update(step->optim, norm, targets, lr, s + 1));
  }
  check_parameters(r, step->zero3, json_object_get(golden, "parameters"));
  zt_step_destroy(&step);
  zt_model_destroy(&model);
  zt_device_destroy(&dev);
  golden_close(&io);
}

START_TEST(results_are_those_of_transformers) {
  trial runs[] = {
      {.name = "scaled", .lr = 1e-2},
      {.name = "plain", .lr = 1e-3, .smoothing = 0.1f, .z_loss = 1e-2f},
      {.name = "relative", .z_loss = 1e-3f, .relative = true}};
  json_t *golden;
  if (comm->size > 1)
    return;
  ck_zt_ok(
      zt_json_read(golden_path("adafactor", "golden.json"), 1 << 24, &golden));
  for (int i = 0; i < 3; i++) {
    zt_optim_options *o = &runs[i].options;
    *o = plain_options();
    o->clip = 1;
    o->decay_all = true;
    if (i == 1) {
      o->adafactor.scale_parameter = false;
      o->adafactor.decay_rate = 0.7;
      o->adafactor.clip_threshold = 0.5;
      o->weight_decay = 0.01;
    }
    follow(&runs[i],
           json_object_get(json_object_get(golden, "runs"), runs[i].name));
  }
  json_decref(golden);
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("adafactor");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_test(all, steps_follow_the_formulas);
  tcase_add_test(all, statistics_are_stored_behind_the_parameters);
  tcase_add_test(all, results_are_those_of_transformers);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  return mpi_unit_main(argc, argv, make_suite);
}
