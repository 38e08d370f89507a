/* SPDX-License-Identifier: BSD-3-Clause */
/* ztconv diff: two models or restarts, parameter by parameter. */
#include "base/memory.h"
#include "comm/agree.h"
#include "io/pieces.h"
#include "io/restart.h"
#include "prog/conv.h"
#include "prog/open_source.h"
#include "train/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "Usage: ztconv diff [--brief] A B\n"
    "Compare two weights files, restarts or Hugging Face directories, value "
    "by\n"
    "value as fp32.  Of two restarts the moments and the step too.\n"
    "The exit code is 0 if all is equal, 1 if something differs.\n"
    "\n"
    "  -q, --brief  only what differs\n";

enum { ELEMENTS = ZT_BUFFER_BYTES / sizeof(float) };

typedef struct side {
  const char *path;
  zt_source *source;
  zt_model *model;
  int *tensor_of;
  zt_params params; /* of the model, and statistics of the optimizer if both
                       sides may have them */
} side;

/* What both have: one state of one parameter. */
typedef struct pair {
  int state, a, b; /* indices of the parameter in either model */
} pair;

typedef struct comparison {
  zt_comm *comm;
  side a, b;
  bool brief;
  pair *pairs;
  int n_pairs;
  int64_t *start;           /* [n_pairs + 1] running sum of fp32 bytes */
  int64_t *most, *unlike;   /* [n_pairs] bits of the largest difference, and
                               elements that differ */
  int64_t differ, compared; /* parameters, also those of one side alone */
} comparison;

/* ---- Values ---- */

static zt_status read_values(const side *s, int state, int param, int64_t begin,
                             int64_t count, float *values) {
  const zt_params *params = &s->params;
  const zt_param *p = &params->list[param];
  if (state == ZT_MASTER && param < s->model->params.count)
    return zt_source_read(s->source, s->tensor_of[param], begin, count, values);
  return zt_restart_read(zt_restart_of(s->source), state,
                         params->units[p->unit].start + p->at + begin, count,
                         values);
}

/* Doubles that are not negative are in order as integers, NaN the largest. */
static int64_t rank_of(double difference) {
  int64_t bits;
  difference = isnan(difference) ? NAN : difference;
  memcpy(&bits, &difference, sizeof bits);
  return bits & INT64_MAX;
}

static void compare_values(comparison *c, int index, const float *a,
                           const float *b, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    if (!memcmp(&a[i], &b[i], sizeof *a))
      continue;
    int64_t difference = rank_of(fabs((double) a[i] - (double) b[i]));
    if (difference > c->most[index])
      c->most[index] = difference;
    c->unlike[index]++;
  }
}

/* This rank's even share of all pairs. */
static zt_status compare_share(comparison *c, float *buffers) {
  zt_pieces pieces;
  zt_piece piece;
  zt_pieces_begin(&pieces, c->start, c->n_pairs, c->comm->size, c->comm->rank,
                  ZT_BUFFER_BYTES);
  while (zt_pieces_next(&pieces, &piece)) {
    const pair *p = &c->pairs[piece.index];
    int64_t begin = piece.at / (int64_t) sizeof(float);
    int64_t count = piece.n / (int64_t) sizeof(float);
    ZT_TRY(read_values(&c->a, p->state, p->a, begin, count, buffers));
    ZT_TRY(
        read_values(&c->b, p->state, p->b, begin, count, buffers + ELEMENTS));
    compare_values(c, piece.index, buffers, buffers + ELEMENTS, count);
  }
  return ZT_OK;
}

static zt_status compare_pairs(comparison *c) {
  float *buffers = zt_calloc(2, ZT_BUFFER_BYTES);
  zt_status status = buffers ? compare_share(c, buffers) : ZT_ERR_MEMORY;
  free(buffers);
  ZT_TRY(zt_agree(c->comm, status));
  ZT_TRY(zt_comm_all_reduce(c->comm, c->most, c->n_pairs, ZT_MAX));
  return zt_comm_all_reduce(c->comm, c->unlike, c->n_pairs, ZT_SUM);
}

/* ---- What there is to compare ---- */

static bool same_shape(const zt_param *a, const zt_param *b) {
  return a->ndim == b->ndim &&
         !memcmp(a->dims, b->dims, (size_t) a->ndim * sizeof *a->dims);
}

/* States that both have. */
static int common_states(const comparison *c) {
  const zt_restart *a = zt_restart_of(c->a.source);
  const zt_restart *b = zt_restart_of(c->b.source);
  if (!a || !b)
    return 1;
  return a->states < b->states ? a->states : b->states;
}

/* What a side has to compare with a restart or with a weights file. */
static zt_status list_params(side *s, bool restarts) {
  zt_params *to = &s->params, more = {0};
  ZT_TRY(zt_params_copy(&s->model->params, to));
  zt_status status = ZT_OK;
  if (restarts)
    status = zt_restart_statistics(zt_restart_of(s->source), &more);
  if (status == ZT_OK && more.count > 0)
    status = zt_params_begin_unit(to, "statistics");
  for (int i = 0; i < more.count && status == ZT_OK; i++) {
    const zt_param *p = &more.list[i];
    status = zt_params_add(to, p->name, p->ndim, p->dims, false, p->init, NULL);
  }
  zt_params_free(&more);
  return status == ZT_OK ? zt_params_finish(to) : status;
}

static zt_status list_both(comparison *c) {
  bool restarts = zt_restart_of(c->a.source) && zt_restart_of(c->b.source);
  ZT_TRY(list_params(&c->a, restarts));
  return list_params(&c->b, restarts);
}

static zt_status list_pairs(comparison *c) {
  const zt_params *a = &c->a.params, *b = &c->b.params;
  const int states = common_states(c);
  const size_t most = (size_t) a->count * ZT_STATES;
  c->pairs = zt_calloc(most, sizeof *c->pairs);
  c->start = zt_calloc(most + 1, sizeof *c->start);
  c->most = zt_calloc(most, sizeof *c->most);
  c->unlike = zt_calloc(most, sizeof *c->unlike);
  if (!c->pairs || !c->start || !c->most || !c->unlike)
    return ZT_ERR_MEMORY;
  for (int state = 0; state < states; state++)
    for (int i = 0; i < a->count; i++) {
      int other = zt_params_find(b, a->list[i].name);
      if (other < 0 || !same_shape(&a->list[i], &b->list[other]))
        continue;
      c->pairs[c->n_pairs] = (pair){state, i, other};
      c->start[c->n_pairs + 1] =
          c->start[c->n_pairs] + a->list[i].numel * (int64_t) sizeof(float);
      c->n_pairs++;
    }
  return ZT_OK;
}

static zt_status open_side(side *s, const char *path, zt_comm *comm) {
  s->path = path;
  ZT_TRY(zt_open_source(path, comm, &s->source));
  return zt_agree(comm,
                  zt_weights_model(s->source, 0, &s->model, &s->tensor_of));
}

static void close_side(side *s) {
  zt_model_destroy(&s->model);
  zt_source_close(&s->source);
  zt_params_free(&s->params);
  free(s->tensor_of);
}

/* ---- Report, by rank 0 ---- */

static void say_pair(comparison *c, int index) {
  const pair *p = &c->pairs[index];
  const zt_param *param = &c->a.params.list[p->a];
  const char *state = p->state == ZT_MASTER ? "" : zt_state_name(p->state);
  const char *slash = *state ? "/" : "";
  double most;
  memcpy(&most, &c->most[index], sizeof most);
  c->compared++;
  c->differ += c->unlike[index] > 0;
  if (c->unlike[index] > 0)
    printf("%s%s%s: max abs diff %.9g, %" PRId64 " of %" PRId64
           " elements differ\n",
           state, slash, param->name, most, c->unlike[index], param->numel);
  else if (!c->brief)
    printf("%s%s%s: equal\n", state, slash, param->name);
}

/* Parameters of one side that the other has not, or in another shape. */
static void say_unpaired(comparison *c, const side *here, const side *there) {
  const zt_params *params = &here->params;
  for (int i = 0; i < params->count; i++) {
    const zt_param *p = &params->list[i];
    char shape[96], other_shape[96];
    int other = zt_params_find(&there->params, p->name);
    if (other < 0) {
      printf("%s: only in %s\n", p->name, here->path);
    } else {
      const zt_param *q = &there->params.list[other];
      if (here != &c->a || same_shape(p, q))
        continue; /* said once */
      printf("%s: shape %s in %s, %s in %s\n", p->name,
             zt_shape_text(p->ndim, p->dims, shape), here->path,
             zt_shape_text(q->ndim, q->dims, other_shape), there->path);
    }
    c->compared++;
    c->differ++;
  }
}

static void say_step(comparison *c) {
  const zt_restart *a = zt_restart_of(c->a.source);
  const zt_restart *b = zt_restart_of(c->b.source);
  if (!a || !b || (c->brief && a->step == b->step))
    return;
  if (a->step == b->step) {
    printf("step %" PRId64 ": equal\n", a->step);
    return;
  }
  printf("step: %" PRId64 " in %s, %" PRId64 " in %s\n", a->step, a->path,
         b->step, b->path);
  c->differ++;
}

static zt_status say(comparison *c) {
  say_step(c);
  for (int i = 0; i < c->n_pairs; i++)
    say_pair(c, i);
  say_unpaired(c, &c->a, &c->b);
  say_unpaired(c, &c->b, &c->a);
  if (!c->brief && c->differ)
    printf("%" PRId64 " differences\n", c->differ);
  else if (!c->brief)
    printf("all equal: %" PRId64 " tensors\n", c->compared);
  if (fflush(stdout) != 0)
    return zt_fail_errno(ZT_ERR_IO, "standard output: cannot write");
  return ZT_OK;
}

/* ---- Command ---- */

static zt_status compare(comparison *c, char **paths, int *exit_code) {
  ZT_TRY(open_side(&c->a, paths[0], c->comm));
  ZT_TRY(open_side(&c->b, paths[1], c->comm));
  ZT_TRY(zt_agree(c->comm, list_both(c)));
  ZT_TRY(zt_agree(c->comm, list_pairs(c)));
  ZT_TRY(compare_pairs(c));
  ZT_TRY(zt_agree(c->comm, c->comm->rank == 0 ? say(c) : ZT_OK));
  ZT_TRY(zt_comm_broadcast(c->comm, &c->differ, sizeof c->differ, 0));
  *exit_code = c->differ > 0;
  return ZT_OK;
}

zt_status zt_conv_diff(zt_program *program, int argc, char **argv) {
  static const struct option options[] = {{"brief", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  comparison c = {.comm = program->comm};
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "qh", options, &option));
    if (option < 0)
      break;
    if (option == 'h')
      return zt_command_help(program, help_text);
    c.brief = true;
  }
  ZT_TRY(zt_check_operands(argc, 2, 2, "ztconv diff [--brief] A B"));
  zt_status status = compare(&c, argv + optind, &program->exit_code);
  close_side(&c.a);
  close_side(&c.b);
  free(c.pairs);
  free(c.start);
  free(c.most);
  free(c.unlike);
  return status;
}
