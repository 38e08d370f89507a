/* SPDX-License-Identifier: BSD-3-Clause */
/* Each family against Hugging Face Transformers: logits, losses, gradients, ten
 * AdamW steps and greedy tokens, with and without recompute, on one process. */
#include "base/json.h"
#include "device/device_check.h"
#include "device/device_cpu.h"
#include "golden.h"
#include "model/pass.h"
#include "unit.h"

#include <math.h>
#include <string.h>

enum { SAMPLES = 2, STEPS = 10, PROMPT = 8, NEW = 16 };
enum { MOST = 32, WIDTH = 64 }; /* tokens of a sample, d_model */

/* A model of tests/golden, and the lengths of its samples. */
typedef struct reference {
  const char *name;
  bool tied, recompute;
  int source, target; /* source 0: a decoder */
} reference;

typedef struct fixture {
  reference r;
  const char *name;
  zt_device *dev;
  zt_model *model;
  zt_pass *pass;
  float *params, *grads, *m, *v; /* flat, canonical order */
  golden_file io;
  json_t *golden;
} fixture;

static float *flat_of(fixture *f, const char *file) {
  golden_file g = golden_open(f->name, file);
  float *flat = calloc((size_t) f->model->params.numel, sizeof *flat);
  for (int i = 0; i < f->model->params.count; i++) {
    const zt_param *p = &f->model->params.list[i];
    int64_t count = 0;
    const void *data = golden_tensor(&g, p->name, &count);
    ck_assert_msg(data && count == p->numel, "%s: %s", file, p->name);
    memcpy(flat + f->model->params.units[p->unit].start + p->at, data,
           (size_t) count * sizeof *flat);
  }
  golden_close(&g);
  return flat;
}

static zt_pass *make_pass(fixture *f, bool training, bool recompute,
                          int64_t target) {
  zt_pass_shape shape = {.samples = SAMPLES,
                         .source_length = f->r.source,
                         .target_length = target,
                         .training = training,
                         .recompute = recompute};
  zt_pass_sizes big = {1 << 22, 1 << 25, 1 << 25, 1 << 22};
  zt_pass *pass;
  ck_zt_ok(zt_pass_create(f->model, f->dev, &shape, &big, &pass));
  return pass;
}

static fixture open_fixture(const reference *r) {
  const char *name = r->name;
  fixture f = {.r = *r, .name = name};
  char *config;
  size_t size;
  ck_zt_ok(
      zt_read_file(golden_path(name, "config.json"), 1 << 20, &config, &size));
  ck_zt_ok(zt_model_create(config, size, name, r->tied, 0, &f.model));
  free(config);
  ck_zt_ok(zt_device_cpu_create(2, &f.dev));
  ck_zt_ok(zt_device_check(f.dev));
  f.pass = make_pass(&f, true, r->recompute, r->target);
  f.params = flat_of(&f, "model");
  size_t n = (size_t) f.model->params.numel;
  f.grads = calloc(n, sizeof(float));
  f.m = calloc(n, sizeof(float));
  f.v = calloc(n, sizeof(float));
  f.io = golden_open(name, "io");
  ck_zt_ok(zt_json_read(golden_path(name, "golden.json"), 1 << 24, &f.golden));
  return f;
}

static void close_fixture(fixture *f) {
  zt_pass_destroy(&f->pass);
  zt_model_destroy(&f->model);
  zt_device_destroy(&f->dev);
  golden_close(&f->io);
  json_decref(f->golden);
  free(f->params);
  free(f->grads);
  free(f->m);
  free(f->v);
}

/* Inputs of one step as our batches have them. */
typedef struct inputs {
  int32_t valid[SAMPLES], target[SAMPLES * MOST], labels[SAMPLES * MOST];
  zt_pass_input input;
} inputs;

/* Where step `step` begins in [steps, samples, length]. */
static const int32_t *ids_of(const fixture *f, const char *name, int step,
                             int length) {
  const int32_t *ids = golden_tensor(&f->io, name, NULL);
  return ids + step * SAMPLES * length;
}

/* The decoder's input are the labels, one place later. */
static void read_pairs(const fixture *f, int step, inputs *in) {
  const int source = f->r.source, target = f->r.target;
  const int32_t *mask = ids_of(f, "attention_mask", step, source);
  const int32_t *labels = ids_of(f, "labels", step, target);
  memcpy(in->labels, labels, (size_t) (SAMPLES * target) * sizeof *in->labels);
  for (int s = 0; s < SAMPLES; s++) {
    in->valid[s] = 0;
    for (int i = 0; i < source; i++)
      in->valid[s] += mask[s * source + i];
    for (int i = 0; i < target; i++) {
      int32_t last = i ? labels[s * target + i - 1] : 0;
      in->target[s * target + i] = last < 0 ? 0 : last;
    }
  }
  in->input.source = ids_of(f, "input_ids", step, source);
}

/* Transformers shifts the labels inside: token i predicts label i + 1. */
static void read_texts(const fixture *f, int step, inputs *in) {
  const int length = f->r.target;
  const int32_t *labels = ids_of(f, "labels", step, length);
  memcpy(in->target, ids_of(f, "input_ids", step, length),
         (size_t) (SAMPLES * length) * sizeof *in->target);
  for (int i = 0; i < SAMPLES * length; i++)
    in->labels[i] = i % length + 1 < length ? labels[i + 1] : -100;
}

static void read_inputs(const fixture *f, int step, inputs *in) {
  in->input = (zt_pass_input){
      .source_valid = in->valid, .target = in->target, .labels = in->labels};
  if (f->r.source > 0)
    read_pairs(f, step, in);
  else
    read_texts(f, step, in);
}

static int64_t count_targets(const fixture *f, const int32_t *labels) {
  int64_t n = 0;
  for (int i = 0; i < SAMPLES * f->r.target; i++)
    n += labels[i] >= 0;
  return n;
}

/* One forward and backward pass; mean loss, gradients of the sum in f->grads.
 */
static double run(fixture *f, int step, int64_t *targets) {
  const zt_params *p = &f->model->params;
  inputs in;
  double loss;
  int last = f->model->n_stages - 1;
  read_inputs(f, step, &in);
  *targets = count_targets(f, in.input.labels);
  memset(f->grads, 0, (size_t) p->numel * sizeof *f->grads);
  ck_zt_ok(zt_pass_begin(f->pass, &in.input));
  for (int s = 0; s <= last; s++) {
    int64_t at = p->units[f->model->stages[s].unit].start;
    ck_zt_ok(zt_pass_forward(f->pass, s, f->params + at,
                             s == last ? f->grads + at : NULL));
  }
  for (int s = last - 1; s >= 0; s--) {
    int64_t at = p->units[f->model->stages[s].unit].start;
    ck_zt_ok(zt_pass_backward(f->pass, s, f->params + at, f->grads + at));
  }
  ck_zt_ok(zt_pass_loss(f->pass, &loss));
  return loss / (double) *targets;
}

static double relative_l2(const float *x, const float *y, int64_t n,
                          double scale) {
  double d = 0, r = 0;
  for (int64_t i = 0; i < n; i++) {
    double diff = (double) x[i] * scale - (double) y[i];
    d += diff * diff;
    r += (double) y[i] * (double) y[i];
  }
  return sqrt(d / (r > 0 ? r : 1));
}

static void check_gradients(fixture *f, int64_t targets) {
  float *wanted = flat_of(f, "grads");
  double worst = 0;
  for (int i = 0; i < f->model->params.count; i++) {
    const zt_param *p = &f->model->params.list[i];
    int64_t at = f->model->params.units[p->unit].start + p->at;
    double error =
        relative_l2(f->grads + at, wanted + at, p->numel, 1 / (double) targets);
    ck_assert_msg(error <= 1e-5, "gradient of %s: %g", p->name, error);
    worst = fmax(worst, error);
  }
  printf("%s: gradients within %.1e relative L2\n", f->name, worst);
  free(wanted);
}

/* torch.optim.AdamW with decay on all, after clipping to norm 1. */
static double update(fixture *f, int step, int64_t targets) {
  double squares = 0;
  int64_t n = f->model->params.numel;
  for (int64_t i = 0; i < n; i++)
    squares += (double) f->grads[i] * (double) f->grads[i];
  double norm = sqrt(squares) / (double) targets;
  double clip = fmin(1, 1 / (norm + 1e-6));
  zt_adamw call = {.n = n,
                   .p = f->params,
                   .m = f->m,
                   .v = f->v,
                   .gradient = f->grads,
                   .scale = (float) (clip / (double) targets),
                   .beta2 = 0.999f,
                   .eps = 1e-8f,
                   .rate1 = 0.1f,
                   .rate2 = 0.001f,
                   .decay = 1 - 1e-3f * 0.01f,
                   .step_size = (float) (1e-3 / (1 - pow(0.9, step))),
                   .root_c2 = (float) sqrt(1 - pow(0.999, step))};
  ck_zt_ok(zt_adamw_run(f->dev, &call));
  return norm;
}

static const float *params_of(const fixture *f, int stage) {
  return f->params + f->model->params.units[f->model->stages[stage].unit].start;
}

static void check_memory(const fixture *f, zt_pass *pass) {
  float memory[SAMPLES * MOST * WIDTH];
  ck_zt_ok(zt_pass_peek(pass, ZT_SLOT_MEMORY, memory));
  double error = relative_l2(
      memory, golden_tensor(&f->io, "encoder_last_hidden_state0", NULL),
      SAMPLES * f->r.source * f->model->shape.d_model, 1);
  ck_assert_msg(error <= 1e-5, "encoder output differs by %g", error);
}

static void check_logits(fixture *f) {
  zt_pass *pass = make_pass(f, false, false, f->r.target);
  const zt_model_shape *s = &f->model->shape;
  int last = f->model->n_stages - 1;
  inputs in;
  read_inputs(f, 0, &in);
  ck_zt_ok(zt_pass_begin(pass, &in.input));
  for (int i = 0; i < last; i++)
    ck_zt_ok(zt_pass_forward(pass, i, params_of(f, i), NULL));
  float h[SAMPLES * MOST * WIDTH];
  ck_zt_ok(zt_pass_peek(pass, ZT_SLOT_TARGET, h));
  const float *head = params_of(f, last);
  const float *wanted = golden_tensor(&f->io, "logits0", NULL);
  double scale = s->scale_logits ? pow((double) s->d_model, -0.5) : 1,
         worst = 0;
  for (int r = 0; r < SAMPLES * f->r.target; r++)
    for (int64_t v = 0; v < s->vocabulary; v++) {
      double sum = 0;
      for (int64_t i = 0; i < s->d_model; i++)
        sum +=
            (double) h[r * s->d_model + i] * (double) head[v * s->d_model + i];
      worst = fmax(worst,
                   fabs(sum * scale - (double) wanted[r * s->vocabulary + v]));
    }
  printf("%s: logits within %.1e\n", f->name, worst);
  ck_assert_msg(worst <= 1e-5, "logits differ by %g", worst);
  if (f->r.source > 0)
    check_memory(f, pass);
  zt_pass_destroy(&pass);
}

/* Rows of a step of generation: texts stand in the slots the other way round.
 */
typedef struct step_rows {
  int32_t id[SAMPLES * MOST], slot[SAMPLES * MOST], position[SAMPLES * MOST];
  int64_t count;
} step_rows;

static void add_text(step_rows *r, int text, const int32_t *ids, int from,
                     int to) {
  for (int t = from; t < to; t++) {
    r->id[r->count] = ids[t];
    r->slot[r->count] = SAMPLES - 1 - text;
    r->position[r->count++] = t;
  }
}

static zt_cache_rows rows_of(const step_rows *r) {
  return (zt_cache_rows){r->count, r->id, r->slot, r->position};
}

static zt_pass *make_cached_pass(fixture *f, const zt_cache_shape *cache) {
  zt_pass_shape shape = {.samples = cache->slots,
                         .source_length = cache->source_length,
                         .target_length = cache->target_length,
                         .cache = cache};
  zt_pass_sizes big = {1 << 22, 1 << 22, 1 << 22, 1 << 20};
  zt_pass *pass;
  ck_zt_ok(zt_pass_create(f->model, f->dev, &shape, &big, &pass));
  return pass;
}

/* Tokens from..to-1 of all texts; the next one goes behind them. */
static void extend(fixture *f, zt_pass *pass, const inputs *in, int32_t *tokens,
                   int length, int from, int to) {
  static const int32_t own[SAMPLES] = {0, 1};
  step_rows source = {.count = 0}, target = {.count = 0};
  int32_t count[SAMPLES], chosen[SAMPLES], next[SAMPLES];
  for (int i = 0; i < SAMPLES; i++) {
    count[SAMPLES - 1 - i] = f->r.source > 0 ? in->valid[i] : 0;
    if (from == 0 && f->r.source > 0)
      add_text(&source, i, in->input.source + i * f->r.source, 0, in->valid[i]);
    add_text(&target, i, tokens + i * length, from, to);
    chosen[i] = (int32_t) target.count - 1;
  }
  ck_zt_ok(zt_pass_begin_step(pass, &(zt_cache_step){.source = rows_of(&source),
                                                     .target = rows_of(&target),
                                                     .source_count = count,
                                                     .source_slot = own,
                                                     .chosen = chosen,
                                                     .choices = SAMPLES}));
  for (int s = 0; s < f->model->n_stages; s++)
    if (source.count > 0 || !f->model->stages[s].source)
      ck_zt_ok(zt_pass_forward(pass, s, params_of(f, s), NULL));
  ck_zt_ok(zt_cache_best(pass, next));
  for (int i = 0; i < SAMPLES; i++)
    tokens[i * length + to] = next[i];
}

static void check_greedy(fixture *f, const char *key) {
  const int prompt = f->r.source > 0 ? 1 : PROMPT, length = prompt + NEW;
  const zt_cache_shape cache = {.slots = SAMPLES,
                                .source_length = f->r.source,
                                .target_length = length,
                                .source_rows = SAMPLES * f->r.source,
                                .target_rows = SAMPLES * PROMPT};
  zt_pass *pass = make_cached_pass(f, &cache);
  json_t *wanted = json_object_get(f->golden, key);
  int32_t tokens[SAMPLES * (PROMPT + NEW)] = {0};
  inputs in;
  read_inputs(f, 0, &in);
  for (int i = 0; i < SAMPLES; i++)
    memcpy(tokens + i * length, in.target + i * f->r.target,
           (size_t) prompt * sizeof *tokens);
  for (int t = prompt; t < length; t++)
    extend(f, pass, &in, tokens, length, t == prompt ? 0 : t - 1, t);
  for (int i = 0; i < SAMPLES; i++) {
    json_t *row = json_array_get(wanted, (size_t) i);
    bool ended = false; /* after the end the reference pads */
    for (int t = 0; t < (int) json_array_size(row) && !ended; t++) {
      int32_t want =
          (int32_t) json_integer_value(json_array_get(row, (size_t) t));
      ck_assert_int_eq(tokens[i * length + t], want);
      ended = t >= prompt && want == f->model->shape.eos_id;
    }
  }
  zt_pass_destroy(&pass);
}

static const reference references[] = {
    {"t5v10tiny", true, false, 24, 12},  {"t5v10tiny", true, true, 24, 12},
    {"t5v11tiny", false, false, 24, 12}, {"t5v11tiny", false, true, 24, 12},
    {"gpt2tiny", true, false, 0, 32},    {"gpt2tiny", true, true, 0, 32},
    {"llamatiny", false, false, 0, 32},  {"llamatiny", false, true, 0, 32}};

START_TEST(results_are_those_of_transformers) {
  fixture f = open_fixture(&references[_i]);
  json_t *losses = json_object_get(f.golden, "losses");
  json_t *norms = json_object_get(f.golden, "grad_norms");
  int64_t targets;
  check_logits(&f);
  check_greedy(&f, "greedy_step0");
  for (int step = 0; step < STEPS; step++) {
    double loss = run(&f, step, &targets);
    double want = json_number_value(json_array_get(losses, (size_t) step));
    ck_assert_msg(fabs(loss - want) <= 1e-5 * want, "loss %d: %.9g, not %.9g",
                  step, loss, want);
    if (step == 0)
      check_gradients(&f, targets);
    double norm = update(&f, step + 1, targets);
    want = json_number_value(json_array_get(norms, (size_t) step));
    ck_assert_msg(fabs(norm - want) <= 2e-6 * want, "norm %d: %.9g, not %.9g",
                  step, norm, want);
  }
  float *after = flat_of(&f, "after10");
  double worst = 0;
  for (int64_t i = 0; i < f.model->params.numel; i++)
    worst = fmax(worst, fabs((double) f.params[i] - (double) after[i]));
  free(after);
  printf("%s: parameters after ten steps within %.1e\n", f.name, worst);
  ck_assert_msg(worst <= 5e-5, "parameters differ by %g", worst);
  check_greedy(&f, "greedy_after10");
  close_fixture(&f);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("parity");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, results_are_those_of_transformers, 0,
                      sizeof references / sizeof *references);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
