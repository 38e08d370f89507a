/* SPDX-License-Identifier: BSD-3-Clause */
/* The plan is what a run takes: on rank 0 to the byte, on others never more. */
#include "mpi_unit.h"
#include "numbers.h"
#include "scratch.h"
#include "train_unit.h"

#include <stdio.h>

static zt_device *dev;

static void open_device(void) {
  ck_zt_ok(zt_device_cpu_create(1, &dev));
}

static void close_device(void) {
  zt_device_destroy(&dev);
}

typedef struct part {
  const char *name;
  size_t planned, used;
} part;

static void compare(const zt_step_sizes *planned, const zt_step_sizes *used) {
  const part parts[] = {
      {"state", planned->zero3.state, used->zero3.state},
      {"units", planned->zero3.units, used->zero3.units},
      {"staging", planned->zero3.staging, used->zero3.staging},
      {"fixed", planned->pass.fixed, used->pass.fixed},
      {"saved", planned->pass.saved, used->pass.saved},
      {"work", planned->pass.work, used->pass.work},
      {"host", planned->pass.host, used->pass.host},
      {"inputs", planned->inputs, used->inputs},
  };
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    ck_assert_msg(comm->rank == 0 ? parts[i].used == parts[i].planned
                                  : parts[i].used <= parts[i].planned,
                  "rank %d: %s: %zu bytes planned, %zu used", comm->rank,
                  parts[i].name, parts[i].planned, parts[i].used);
}

/* Plans, runs two steps and compares. */
static void check(const zt_model *model, zt_tokens *tokens,
                  const zt_step_options *options) {
  zt_plan plan;
  zt_step_result result;
  ck_zt_ok(zt_plan_make(model, options, dev, comm->size, &plan));
  ck_assert_int_eq(plan.micro_batches, options->batch / options->microbatch);
  uint64_t gathered = comm->gathered_bytes, reduced = comm->reduced_bytes;
  uint64_t flops = dev->flops;
  zt_step *step = train_step(model, dev, comm, options);
  zt_batch *batch = train_batch(tokens, model, options);
  ck_zt_ok(zt_step_run(step, batch, 1, 1e-3, 1, &result));
  if (comm->rank == 0) {
    ck_assert_uint_eq(dev->flops - flops, (uint64_t) plan.flops);
    ck_assert_uint_eq(comm->gathered_bytes - gathered, plan.gathered);
    ck_assert_uint_eq(comm->reduced_bytes - reduced, plan.reduced);
  }
  ck_zt_ok(zt_step_run(step, batch, 2, 1e-3, 2, &result));
  zt_step_sizes used = zt_step_peak(step);
  compare(&plan.sizes, &used);
  zt_batch_destroy(&batch);
  zt_step_destroy(&step);
}

/* Every choice of the options that memory depends on. */
START_TEST(plan_equals_run) {
  static const struct {
    const char *name;
    int64_t limit;
  } models[] = {{"t5v10tiny", 0},     {"t5v10tiny", 25000}, {"t5v11tiny", 0},
                {"t5v11tiny", 25000}, {"llamatiny", 33000}, {"gpt2tiny", 0}};
  zt_model *model = train_model(models[_i].name, models[_i].limit);
  zt_tokens *tokens;
  train_open_tokens(model, scratch_path("tokens.h5"), &tokens);
  const int64_t lengths[][2] = {{TRAIN_SOURCE, TRAIN_TARGET}, {5, 17}, {1, 1}};
  for (int mix = 0; mix < 24; mix += numbers_long() ? 1 : 5) {
    zt_step_options options =
        train_options_of(model, 4, (int64_t) 1 << mix % 3);
    options.pass.recompute = mix / 3 % 2;
    options.pass.dropout = mix / 6 % 2 ? 0.1 : 0;
    if (model->family->encoder)
      options.pass.source_length = lengths[mix % 7 % 3][0];
    options.pass.target_length = lengths[mix % 7 % 3][model->family->encoder];
    options.pass.target_length += !model->family->encoder; /* from 2 on */
    options.prefetch = (mix + _i) % ZT_COMM_SLOTS;
    check(model, tokens, &options);
  }
  zt_step_options ragged = train_options_of(model, 7, 1);
  check(model, tokens, &ragged);
  zt_step_options few = train_options_of(model, 1, 1);
  check(model, tokens, &few);
  zt_tokens_close(&tokens);
  zt_model_destroy(&model);
}
END_TEST

/* Lengths and ranks in a plan alone: it allocates nothing, so the large ones
 * are as quick as the small ones. */
START_TEST(plans_of_any_size) {
  zt_model *model = train_model("t5v11tiny", 0);
  zt_plan plan, more;
  zt_step_options options = train_options(1024, 8);
  options.pass.source_length = 4096;
  options.pass.target_length = 2048;
  ck_zt_ok(zt_plan_make(model, &options, dev, 1, &plan));
  ck_zt_ok(zt_plan_make(model, &options, dev, 40, &more));
  ck_assert_uint_lt(more.sizes.zero3.state, plan.sizes.zero3.state);
  ck_assert_uint_eq(more.sizes.pass.saved, plan.sizes.pass.saved);
  ck_assert_int_eq(more.rounds, 4);
  ck_assert_double_eq_tol(more.idle, 1 - 128 / 160., 1e-12);
  options.pass.recompute = false;
  ck_zt_ok(zt_plan_make(model, &options, dev, 1, &more));
  ck_assert_uint_gt(more.total, plan.total);
  zt_model_destroy(&model);
}
END_TEST

START_TEST(a_plan_that_does_not_fit) {
  zt_plan plan = {.total = (size_t) 1 << 30};
  ck_zt_ok(zt_plan_check_memory(&plan, dev, 0));
  ck_zt_fails(zt_plan_check_memory(&plan, dev, 1 << 30), ZT_ERR_MEMORY);
  ck_assert_uint_le(strlen(zt_last_error()), 200);
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("plan");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  scratch_begin("check_plan");
  tcase_add_checked_fixture(all, open_device, close_device);
  tcase_add_loop_test(all, plan_equals_run, 0, 6);
  tcase_add_test(all, plans_of_any_size);
  tcase_add_test(all, a_plan_that_does_not_fit);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  int failed = mpi_unit_main(argc, argv, make_suite);
  scratch_end();
  return failed;
}
