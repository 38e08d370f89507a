/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/plan.h"

#include "comm/comm_null.h"
#include "device/device_null.h"
#include "train/answers.h"

#include <inttypes.h>
#include <stdio.h>

zt_status zt_plan_check_task(const zt_settings *settings,
                             const zt_model *model) {
  bool causal = settings->data.task == ZT_TASK_CAUSAL;
  if (causal && model->family->encoder)
    return zt_fail(ZT_ERR_CONFIG,
                   "data.task is \"causal\", but the model is a %s with an "
                   "encoder: take \"span-corruption\" or \"seq2seq\"",
                   model->model_type);
  if (!causal && !model->family->encoder)
    return zt_fail(ZT_ERR_CONFIG,
                   "data.task needs an encoder, which a %s model has not: "
                   "take data.task = \"causal\"",
                   model->model_type);
  int64_t most = model->shape.positions;
  if (causal && most > 0 && settings->data.length > most)
    return zt_fail(ZT_ERR_CONFIG,
                   "data.length = %" PRId64 " is more than the %" PRId64
                   " positions that the model has",
                   settings->data.length, most);
  return ZT_OK;
}

static int64_t source_length_of(const zt_settings *settings,
                                const zt_model *model) {
  return model->family->encoder ? settings->data.source_length : 0;
}

static int64_t target_length_of(const zt_settings *settings,
                                const zt_model *model) {
  return model->family->encoder ? settings->data.target_length
                                : settings->data.length;
}

static zt_optim_options optim_options_of(const zt_settings *settings) {
  const double *betas = settings->train.optimizer.betas;
  return (zt_optim_options){
      .kind = settings->train.optimizer.name,
      .beta1 = betas[0],
      .beta2 = betas[1],
      .eps = settings->train.optimizer.eps,
      .adafactor = {.decay_rate = settings->train.optimizer.decay_rate,
                    .clip_threshold = settings->train.optimizer.clip_threshold,
                    .eps1 = settings->train.optimizer.adafactor_eps[0],
                    .eps2 = settings->train.optimizer.adafactor_eps[1],
                    .scale_parameter =
                        settings->train.optimizer.scale_parameter},
      .weight_decay = settings->train.optimizer.weight_decay,
      .decay_all = settings->train.optimizer.decay_on == ZT_DECAY_ALL,
      .clip = settings->train.optimizer.clip,
      .freeze = settings->train.optimizer.freeze,
      .lr_scale = settings->train.optimizer.lr_scale};
}

zt_step_options zt_step_options_of(const zt_settings *settings,
                                   const zt_model *model) {
  return (zt_step_options){
      .batch = settings->train.batch,
      .microbatch = settings->train.microbatch,
      .seed = (uint64_t) settings->run.seed,
      .pass = {.samples = settings->train.microbatch,
               .source_length = source_length_of(settings, model),
               .target_length = target_length_of(settings, model),
               .dtype = settings->train.precision,
               .training = true,
               .recompute = settings->train.recompute,
               .documents = settings->data.task == ZT_TASK_CAUSAL &&
                            settings->data.packing,
               .dropout = settings->train.dropout,
               .label_smoothing = settings->train.label_smoothing,
               .z_loss = settings->train.z_loss},
      .prefetch = (int) settings->zero.prefetch,
      .evaluates = settings->train.eval_every > 0,
      .optim = optim_options_of(settings)};
}

zt_batch_spec zt_batch_spec_of(const zt_settings *settings,
                               const zt_model *model) {
  return (zt_batch_spec){.task = settings->data.task,
                         .source_length = source_length_of(settings, model),
                         .target_length = target_length_of(settings, model),
                         .packing = settings->data.packing,
                         .documents = settings->data.document_attention,
                         .too_long = settings->data.too_long,
                         .shuffled = settings->data.order == ZT_ORDER_SHUFFLED,
                         .hold_out = settings->data.valid_fraction,
                         .split_seed = (uint64_t) settings->run.seed,
                         .batch = settings->train.batch,
                         .seed = (uint64_t) settings->run.seed,
                         .vocabulary = model->shape.vocabulary,
                         .pad_id = model->shape.pad_id,
                         .eos_id = model->shape.eos_id,
                         .start_id = model->shape.start_id};
}

/* In arenas, which are the device's. */
static size_t arenas_of(const zt_step_sizes *s) {
  return s->zero3.state + s->zero3.units + s->zero3.staging + s->pass.fixed +
         s->pass.saved + s->pass.work;
}

static zt_status run_counting(const zt_model *model, zt_device *dev,
                              zt_comm *comm, const zt_step_options *options,
                              zt_plan *plan) {
  zt_phases phases;
  zt_step *step = NULL;
  zt_step_result result;
  zt_step_sums evaluated = {0};
  zt_phases_init(&phases);
  ZT_TRY(zt_fault_check(ZT_FAULT_PLAN));
  ZT_TRY(zt_step_create(model, dev, comm, options, NULL, &phases, &step));
  zt_fault_hold(true);
  zt_status status = ZT_OK;
  if (options->pass.training)
    status = zt_step_run(step, NULL, 1, 0, 1, &result);
  plan->flops = (double) dev->flops;
  plan->gathered = comm->gathered_bytes;
  plan->reduced = comm->reduced_bytes;
  if (status == ZT_OK && options->evaluates)
    status =
        zt_step_evaluate(step, NULL, 1, 0, options->microbatch, &evaluated);
  zt_fault_hold(false);
  plan->sizes = zt_step_peak(step);
  plan->micro_batches = step->micro_batches;
  plan->rounds = step->rounds;
  plan->idle = zt_step_idle_share(step);
  zt_step_destroy(&step);
  return status;
}

static int64_t restart_bytes(const zt_model *model,
                             const zt_step_options *options) {
  const zt_params *params = &model->params;
  if (options->optim.kind == ZT_ADAFACTOR)
    return 4 * (params->numel + zt_adafactor_statistics(params));
  return ZT_STATES * 4 * params->numel;
}

zt_status zt_plan_make(const zt_model *model, const zt_step_options *options,
                       const zt_device *like, int ranks, zt_plan *plan) {
  zt_device *dev = NULL;
  zt_comm *comm = NULL;
  *plan = (zt_plan){.ranks = ranks,
                    .parameters = model->params.numel,
                    .restart_bytes = restart_bytes(model, options),
                    .largest_unit = zt_params_largest_unit(&model->params)};
  zt_status status = zt_device_null_create(like, &dev);
  if (status == ZT_OK)
    status = zt_comm_null_create(0, ranks, &comm);
  if (status == ZT_OK)
    status = run_counting(model, dev, comm, options, plan);
  if (status == ZT_OK) {
    const zt_step_sizes *sizes = &plan->sizes;
    plan->total = arenas_of(sizes) + sizes->pass.host + sizes->inputs +
                  sizes->zero3.host + sizes->optim;
    plan->on_device = like->ops->free_memory ? arenas_of(&plan->sizes) : 0;
  }
  zt_comm_destroy(&comm);
  zt_device_destroy(&dev);
  return status;
}

zt_restart_options zt_restart_options_of(const zt_settings *settings) {
  return (zt_restart_options){
      .ranks_per_part = (int) settings->restart.ranks_per_part,
      .staging = settings->restart.staging,
      .statistics = settings->train.optimizer.name == ZT_ADAFACTOR};
}

zt_status zt_plan_add_saves(zt_plan *plan, const zt_model *model,
                            const zt_settings *settings, int64_t config_bytes) {
  const zt_restart_options options = zt_restart_options_of(settings);
  zt_params stored = {0};
  if (options.statistics)
    ZT_TRY(zt_adafactor_stored(&model->params, &stored));
  plan->saves =
      zt_restart_writer_bytes(options.statistics ? &stored : &model->params,
                              plan->ranks, &options, config_bytes);
  plan->total += plan->saves;
  zt_params_free(&stored);
  return ZT_OK;
}

zt_status zt_plan_add_answers(zt_plan *plan, const zt_model *model,
                              const zt_settings *settings,
                              const zt_device *like) {
  zt_generate_spec spec;
  if (settings->train.eval_generate == 0)
    return ZT_OK;
  ZT_TRY(zt_answers_spec(settings, model, &spec));
  ZT_TRY(zt_generate_bytes(model, like, plan->ranks, &spec, &plan->answers));
  plan->total += plan->answers;
  if (plan->on_device > 0)
    plan->on_device += plan->answers;
  return ZT_OK;
}

/* ---- For people ---- */

static void add_line(zt_text *text, const char *what, double bytes,
                     const char *meaning) {
  char human[32];
  zt_text_add(text, "  %-12s %12s   %s\n", what, zt_human_bytes(bytes, human),
              meaning);
}

static void format_table(const zt_plan *p, zt_text *text) {
  const zt_step_sizes *s = &p->sizes;
  zt_text_add(text,
              "plan: %" PRId64 " parameters on %d rank%s, largest unit "
              "%" PRId64 "\n"
              "memory of each rank\n",
              p->parameters, p->ranks, p->ranks > 1 ? "s" : "",
              p->largest_unit);
  add_line(text, "state", (double) (s->zero3.state + s->zero3.host),
           "master weights, moments, accumulated gradients");
  add_line(text, "units", (double) s->zero3.units,
           "gathered units and one unit's gradient");
  add_line(text, "staging", (double) s->zero3.staging, "pieces in reduction");
  add_line(text, "saved", (double) s->pass.saved, "activations until backward");
  add_line(text, "work", (double) s->pass.work, "activations of one stage");
  add_line(text, "fixed", (double) s->pass.fixed,
           "inputs, tables, gradients between stages");
  if (s->optim > 0)
    add_line(text, "optimizer", (double) s->optim,
             "statistics of tensors being made");
  add_line(text, "host", (double) (s->pass.host + s->inputs),
           "records, token ids of a step");
  if (p->answers > 0)
    add_line(text, "answers", (double) p->answers,
             "generation while evaluating: keys and values, units in fp32");
  add_line(text, "saves", (double) p->saves, "restarts on their way to disk");
  add_line(text, "total", (double) p->total, "");
  zt_text_add(text,
              "a step\n"
              "  micro-batches %" PRId64 " in %" PRId64 " round%s",
              p->micro_batches, p->rounds, p->rounds > 1 ? "s" : "");
  if (p->idle > 0)
    zt_text_add(text, ", %.0f %% of the ranks' turns idle", 100 * p->idle);
  zt_text_add(text, "\n  %-12s %9.3f TFLOP of matrix products a rank\n",
              "compute", p->flops * 1e-12);
  add_line(text, "gathers", (double) p->gathered, "sent by each rank");
  add_line(text, "reductions", (double) p->reduced, "sent by each rank");
  add_line(text, "restart", (double) p->restart_bytes, "on disk, all ranks");
}

static void format_json(const zt_plan *p, zt_text *text) {
  const zt_step_sizes *s = &p->sizes;
  zt_text_add(
      text,
      "{\"parameters\": %" PRId64 ", \"ranks\": %d, \"largest_unit\": %" PRId64
      ", \"bytes\": {\"state\": %zu, \"units\": %zu, \"staging\": %zu, "
      "\"saved\": %zu, \"work\": %zu, \"fixed\": %zu, \"host\": %zu, "
      "\"optimizer\": %zu, \"answers\": %zu, \"saves\": %zu, \"total\": %zu}, "
      "\"micro_batches\": %" PRId64 ", \"rounds\": %" PRId64
      ", \"idle\": %.6g, \"flops\": %.17g, \"gathered_bytes\": %" PRIu64
      ", \"reduced_bytes\": %" PRIu64 ", \"restart_bytes\": %" PRId64 "}\n",
      p->parameters, p->ranks, p->largest_unit, s->zero3.state + s->zero3.host,
      s->zero3.units, s->zero3.staging, s->pass.saved, s->pass.work,
      s->pass.fixed, s->pass.host + s->inputs, s->optim, p->answers, p->saves,
      p->total, p->micro_batches, p->rounds, p->idle, p->flops, p->gathered,
      p->reduced, p->restart_bytes);
}

void zt_plan_format(const zt_plan *plan, bool json, zt_text *text) {
  if (json)
    format_json(plan, text);
  else
    format_table(plan, text);
}

static zt_status check_device(const zt_plan *plan, zt_device *dev) {
  char need[32], have[32];
  if (!dev || plan->on_device == 0)
    return ZT_OK;
  size_t there = dev->ops->free_memory(dev);
  if (plan->on_device <= there)
    return ZT_OK;
  return zt_fail(ZT_ERR_MEMORY,
                 "does not fit: a rank needs %s of its GPU, %s are free; use "
                 "more GPUs, train.recompute = true or a smaller "
                 "train.microbatch",
                 zt_human_bytes((double) plan->on_device, need),
                 zt_human_bytes((double) there, have));
}

static zt_status check_host(const zt_plan *plan, int ranks_here) {
  FILE *f = fopen("/proc/meminfo", "r");
  char line[128], need[32], have[32];
  size_t kib = 0;
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "MemAvailable: %zu kB", &kib) == 1)
      break;
  if (f)
    fclose(f);
  double needed = (double) (plan->total - plan->on_device) * ranks_here;
  double there = (double) kib * 1024;
  if (kib == 0 || needed <= there)
    return ZT_OK;
  return zt_fail(ZT_ERR_MEMORY,
                 "does not fit: %d rank%s here need %s, %s are free; use more "
                 "nodes, a smaller train.microbatch or restart.staging",
                 ranks_here, ranks_here > 1 ? "s" : "",
                 zt_human_bytes(needed, need), zt_human_bytes(there, have));
}

zt_status zt_plan_check_memory(const zt_plan *plan, zt_device *dev,
                               int ranks_here) {
  ZT_TRY(check_device(plan, dev));
  return check_host(plan, ranks_here);
}
