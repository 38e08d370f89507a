/* SPDX-License-Identifier: BSD-3-Clause */
/* Sums that do not depend on order or ranks, the norm and who is blamed for a
 * bad one, and which parameters decay. */
#include "train/optim.h"

#include "train/exact.h"

#include "base/random.h"
#include "mpi_unit.h"
#include "numbers.h"
#include "train_unit.h"

#include <stdio.h>

/* ---- Exact sums ---- */

enum { COUNT = 10000 };

static double wide(int64_t i) { /* 1e-300 .. 1e300 */
  double u = numbers_uniform(1, (uint64_t) i);
  return ldexp(1 + fabs(u), (int) (numbers_uniform(2, (uint64_t) i) * 996));
}

static double alike(int64_t i) {
  return 1 + numbers_uniform(3, (uint64_t) i);
}

static double denormal(int64_t i) {
  return ldexp((double) (i % 1000), -1074);
}

static double mixed(int64_t i) {
  return i % 4 == 0   ? 0
         : i % 4 == 1 ? denormal(i)
         : i % 4 == 2 ? alike(i) * 1e-20
                      : alike(i);
}

static double one_large(int64_t i) {
  return i == COUNT / 2 ? 0x1p60 : 0x1p-7;
}

static double zero(int64_t i) {
  return i % 2 ? 0.0 : -0.0;
}

typedef double list(int64_t i);
static const struct {
  const char *name;
  list *value;
} lists[] = {{"wide", wide},   {"alike", alike},         {"denormal", denormal},
             {"mixed", mixed}, {"one large", one_large}, {"zero", zero}};
enum { LISTS = sizeof lists / sizeof *lists };

/* The share of this rank when value i goes to rank owner(i), in an order. */
static double sum_shared(list *value, int distribution) {
  static double mine[COUNT];
  int64_t n = 0;
  for (int64_t i = 0; i < COUNT; i++) {
    int64_t at = distribution == 0 ? i
                 : distribution == 1
                     ? COUNT - 1 - i
                     : (int64_t) zt_permute((uint64_t) distribution, 0, COUNT,
                                            (uint64_t) i);
    int owner =
        distribution == 2 ? 0 /* the others have none */
        : distribution == 3
            ? (int) (i * comm->size / COUNT)
            : (int) (numbers_bits(9, (uint64_t) at) % (uint64_t) comm->size);
    if (owner == comm->rank)
      mine[n++] = value(at);
  }
  double sum;
  ck_zt_ok(zt_exact_sum(comm, mine, n, &sum));
  return sum;
}

START_TEST(sum_does_not_depend_on_ranks_or_order) {
  static double all[COUNT];
  double wanted;
  _Float128 exact = 0;
  for (int64_t i = 0; i < COUNT; i++) {
    all[i] = lists[_i].value(i);
    exact += all[i];
  }
  ck_zt_ok(zt_exact_sum(alone, all, COUNT, &wanted));
  double error = (double) (((_Float128) wanted - exact) / exact);
  if (exact == 0)
    ck_assert_double_eq(wanted, 0);
  else /* n / 2^67 of the sum, and one rounding of the result */
    ck_assert_msg(fabs(error) <= COUNT * 0x1p-67 + 0x1p-52, "%s: %g",
                  lists[_i].name, error);
  if (comm->rank == 0 && exact != 0)
    printf("sum of %s numbers: within %.1e\n", lists[_i].name, fabs(error));
  for (int distribution = 0; distribution < 8; distribution++) {
    double sum = sum_shared(lists[_i].value, distribution);
    ck_assert_msg(!memcmp(&sum, &wanted, sizeof sum), "%s: %a, not %a",
                  lists[_i].name, sum, wanted);
  }
}
END_TEST

START_TEST(sum_of_few_and_of_bad_numbers) {
  const double bad[] = {NAN, INFINITY, -INFINITY};
  double sum = 1;
  ck_zt_ok(zt_exact_sum(comm, NULL, 0, &sum));
  ck_assert_double_eq(sum, 0);
  double one = comm->rank == comm->size - 1 ? 0x1.23456789abcdep-1000 : 0;
  ck_zt_ok(zt_exact_sum(comm, &one, 1, &sum));
  ck_assert_double_eq(sum, 0x1.23456789abcdep-1000);
  for (int i = 0; i < 3; i++)
    for (int owner = 0; owner < comm->size; owner++) {
      double values[] = {1, comm->rank == owner ? bad[i] : 1e308, 0};
      ck_zt_ok(zt_exact_sum(comm, values, 3, &sum));
      ck_assert_double_nan(sum);
    }
}
END_TEST

/* ---- The norm and the update ---- */

typedef struct fixture {
  zt_device *dev;
  zt_model *model;
  zt_step *step;
  zt_zero3 *z;
} fixture;

static fixture open_fixture(bool decay_all, double clip) {
  fixture f;
  zt_step_options options = train_options(4, 2);
  options.optim.decay_all = decay_all;
  options.optim.clip = clip;
  ck_zt_ok(zt_device_cpu_create(1, &f.dev));
  f.model = train_model("t5v10tiny", 0);
  f.step = train_step(f.model, f.dev, comm, &options);
  f.z = f.step->zero3;
  ck_zt_ok(zt_zero3_begin_step(f.z));
  return f;
}

static void close_fixture(fixture *f) {
  zt_step_destroy(&f->step);
  zt_model_destroy(&f->model);
  zt_device_destroy(&f->dev);
}

/* Place of an element in an array like the shard, or NULL: another rank's. */
static float *element(const fixture *f, float *unit_slice, int param,
                      int64_t i) {
  const zt_param *p = &f->model->params.list[param];
  int64_t slice = f->z->shard.slice[p->unit];
  int64_t at = p->at + i - slice * f->z->shard.rank;
  return at >= 0 && at < slice ? unit_slice + at : NULL;
}

static void set_gradient(const fixture *f, int param, int64_t i, float g) {
  int unit = f->model->params.list[param].unit;
  float *to = element(f, zt_zero3_sum(f->z, unit), param, i);
  if (to)
    *to = g;
}

START_TEST(the_first_bad_parameter_is_named) {
  fixture f = open_fixture(false, 1);
  const zt_params *params = &f.model->params;
  const float bad[] = {NAN, INFINITY, -INFINITY};
  double norm;
  int named;
  for (int i = 0; i < params->count; i++) {
    ck_zt_ok(zt_zero3_begin_step(f.z));
    set_gradient(&f, 0, 7, 3);
    set_gradient(&f, params->count - 1, 1, 4);
    ck_zt_ok(zt_optim_norm(f.step->optim, 5, &norm, &named));
    ck_assert_int_eq(named, -1);
    ck_assert_double_eq_tol(norm, 1, 1e-15);
    /* The last element of this one, and some of later ones. */
    set_gradient(&f, i, params->list[i].numel - 1, bad[i % 3]);
    for (int later = i + 1; later < params->count; later += 5)
      set_gradient(&f, later, params->list[later].numel / 2, NAN);
    ck_zt_ok(zt_optim_norm(f.step->optim, 5, &norm, &named));
    ck_assert_int_eq(named, i);
    ck_assert_double_nan(norm);
  }
  close_fixture(&f);
}
END_TEST

/* Gradients of zero: the update is the decay alone, and leaves pads alone. */
START_TEST(what_decays) {
  for (int all = 0; all < 2; all++) {
    fixture f = open_fixture(all, 1);
    zt_zero3 *z = f.z;
    for (int u = 0; u < z->shard.n_units; u++)
      for (int64_t i = 0; i < z->shard.slice[u]; i++)
        z->master[z->shard.at[u] + i] =
            z->shard.slice[u] * comm->rank + i < f.model->params.units[u].numel;
    ck_zt_ok(zt_optim_update(f.step->optim, 0, 1, 0.5, 1));
    for (int p = 0; p < f.model->params.count; p++) {
      const zt_param *param = &f.model->params.list[p];
      bool matrix = param->ndim == 2 && !strstr(param->name, "bias");
      float wanted = all || matrix ? 1 - 0.5f * 0.01f : 1;
      for (int64_t i = 0; i < param->numel; i += param->numel - 1) {
        float *w = element(&f, z->master + z->shard.at[param->unit], p, i);
        if (w)
          ck_assert_float_eq(*w, wanted);
      }
    }
    for (int u = 0; u < z->shard.n_units; u++) {
      int64_t end = z->shard.slice[u] - 1;
      if (z->shard.slice[u] * comm->rank + end >=
          f.model->params.units[u].numel)
        ck_assert_float_eq(z->master[z->shard.at[u] + end], 0);
    }
    close_fixture(&f);
  }
}
END_TEST

/* A first step moves each parameter by lr against the sign of its gradient,
 * however long it is; the moments show the clipping. */
START_TEST(clipping_scales_the_gradient) {
  const double clips[] = {0, 0.5, 100};
  for (int c = 0; c < 3; c++) {
    fixture f = open_fixture(false, clips[c]);
    double norm;
    int named;
    set_gradient(&f, 2, 5, 6);
    set_gradient(&f, 3, 5, -8);
    ck_zt_ok(zt_optim_norm(f.step->optim, 2, &norm, &named));
    ck_assert_double_eq_tol(norm, 5, 1e-14);
    ck_zt_ok(zt_optim_update(f.step->optim, norm, 2, 0.01, 1));
    double factor = clips[c] > 0 ? fmin(1, clips[c] / (5 + 1e-6)) : 1;
    int unit = f.model->params.list[2].unit;
    float *m = element(&f, f.z->exp_avg + f.z->shard.at[unit], 2, 5);
    if (m)
      ck_assert_double_eq_tol((double) *m, 0.1 * factor * 3, 1e-7);
    unit = f.model->params.list[3].unit;
    m = element(&f, f.z->exp_avg + f.z->shard.at[unit], 3, 5);
    if (m)
      ck_assert_double_eq_tol((double) *m, -0.1 * factor * 4, 1e-7);
    close_fixture(&f);
  }
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("optim");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, sum_does_not_depend_on_ranks_or_order, 0, LISTS);
  tcase_add_test(all, sum_of_few_and_of_bad_numbers);
  tcase_add_test(all, the_first_bad_parameter_is_named);
  tcase_add_test(all, what_decays);
  tcase_add_test(all, clipping_scales_the_gradient);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  return mpi_unit_main(argc, argv, make_suite);
}
