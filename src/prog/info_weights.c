/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo show, for weights files and Hugging Face directories. */
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/restart.h"
#include "prog/info.h"
#include "prog/open_source.h"
#include "train/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct view {
  zt_source *source;
  zt_model *model;
  int *tensor_of; /* of each parameter */
  int *param_of;  /* of each tensor */
} view;

static const zt_source_tensor *tensor(const view *v, int param) {
  return &v->source->tensors[v->tensor_of[param]];
}

static int64_t bytes_of(const zt_source_tensor *t) {
  return t->numel * (int64_t) zt_dtype_size(t->dtype);
}

/* ---- For people ---- */

/* "fp32", or how much of each. */
static void add_formats(const view *v, zt_text *out) {
  const zt_params *params = &v->model->params;
  int64_t bytes[ZT_FP16 + 1] = {0};
  char size[32];
  for (int p = 0; p < params->count; p++)
    bytes[tensor(v, p)->dtype] += bytes_of(tensor(v, p));
  const char *comma = "";
  for (int d = ZT_FP32; d <= ZT_FP16; d++)
    if (bytes[d] > 0) {
      zt_text_add(out, "%s%s %s", comma,
                  zt_human_bytes((double) bytes[d], size),
                  zt_dtype_name((zt_dtype) d));
      comma = " + ";
    }
}

static void add_head(const view *v, zt_text *out) {
  const zt_source *s = v->source;
  const zt_params *params = &v->model->params;
  const zt_unit *largest = &params->units[0];
  char size[32];
  zt_text_add(out, "%s: %s%s%s%s%s\n", s->path, s->ops->name,
              *s->version ? ", version " : "", s->version,
              *s->producer ? ", written by " : "", s->producer);
  zt_text_add(out, "  family:     %s (model_type %s), embedding and head %s\n",
              v->model->family->name, v->model->model_type,
              v->model->shape.tied ? "tied" : "not tied");
  zt_text_add(out, "  parameters: %d, %" PRId64 " elements, ", params->count,
              params->numel);
  add_formats(v, out);
  for (int u = 1; u < params->n_units; u++)
    if (params->units[u].numel > largest->numel)
      largest = &params->units[u];
  zt_text_add(out, "\n  units:      %d, the largest is %s, %s in fp32\n",
              params->n_units, largest->name,
              zt_human_bytes(4 * (double) largest->numel, size));
  const zt_restart *restart = zt_restart_of(s);
  if (restart)
    zt_info_add_restart(out, restart);
  if (s->has_digest)
    zt_text_add(out, "  digest:     %016" PRIx64 "\n", s->digest);
  zt_text_add(out, "  files:      ");
  for (int i = 0; i < s->n_config; i++)
    zt_text_add(out, "%s%s (%s)", i ? ", " : "", s->config[i].name,
                zt_human_bytes((double) s->config[i].size, size));
  zt_text_add(out, "\n");
}

static void add_table(const view *v, zt_text *out) {
  const zt_source *s = v->source;
  const zt_params *params = &v->model->params;
  int width = 4;
  char shape[96];
  for (int i = 0; i < s->n_tensors; i++)
    if ((int) strlen(s->tensors[i].name) > width)
      width = (int) strlen(s->tensors[i].name);
  for (int p = 0; p < params->count; p++) {
    const zt_source_tensor *t = tensor(v, p);
    if (p == params->units[params->list[p].unit].first)
      zt_text_add(out, "%s\n", params->units[params->list[p].unit].name);
    zt_text_add(out, "  %-*s  %s  %s\n", width, t->name,
                zt_dtype_name(t->dtype),
                zt_shape_text(t->ndim, t->dims, shape));
    for (int i = 0; i < s->n_tensors; i++)
      if (v->param_of[i] == p && i != v->tensor_of[p])
        zt_text_add(out, "  %-*s  the same\n", width, s->tensors[i].name);
  }
}

/* ---- For programs ---- */

static void add_string(zt_text *out, const char *key, const char *value) {
  zt_text_add(out, ", \"%s\": ", key);
  zt_text_add_json(out, value, strlen(value));
}

static void add_json_param(const view *v, int p, zt_text *out) {
  const zt_source *s = v->source;
  const zt_source_tensor *t = tensor(v, p);
  zt_text_add(out, "{\"name\": ");
  zt_text_add_json(out, t->name, strlen(t->name));
  zt_text_add(out, ", \"shape\": [");
  for (int d = 0; d < t->ndim; d++)
    zt_text_add(out, "%s%" PRId64, d ? ", " : "", t->dims[d]);
  zt_text_add(out, "], \"dtype\": \"%s\", \"unit\": %d, \"also\": [",
              zt_dtype_name(t->dtype), v->model->params.list[p].unit);
  const char *comma = "";
  for (int i = 0; i < s->n_tensors; i++)
    if (v->param_of[i] == p && i != v->tensor_of[p]) {
      zt_text_append(out, comma, strlen(comma));
      zt_text_add_json(out, s->tensors[i].name, strlen(s->tensors[i].name));
      comma = ", ";
    }
  zt_text_add(out, "]}");
}

static void add_json(const view *v, zt_text *out) {
  const zt_source *s = v->source;
  const zt_params *params = &v->model->params;
  zt_text_add(out, "{\"kind\": \"%s\"",
              zt_restart_of(s) ? "restart"
              : s->n_files     ? "huggingface"
                               : "weights");
  add_string(out, "path", s->path);
  add_string(out, "version", s->version);
  add_string(out, "producer", s->producer);
  add_string(out, "family", v->model->family->name);
  add_string(out, "model_type", v->model->model_type);
  zt_text_add(out, ", \"tied\": %s, \"elements\": %" PRId64,
              v->model->shape.tied ? "true" : "false", params->numel);
  const zt_restart *restart = zt_restart_of(s);
  if (restart)
    zt_info_add_restart_json(out, restart);
  if (s->has_digest)
    zt_text_add(out, ", \"digest\": \"%016" PRIx64 "\"", s->digest);
  zt_text_add(out, ", \"config\": [");
  for (int i = 0; i < s->n_config; i++) {
    zt_text_add(out, "%s{\"name\": ", i ? ", " : "");
    zt_text_add_json(out, s->config[i].name, strlen(s->config[i].name));
    zt_text_add(out, ", \"bytes\": %" PRId64 "}", s->config[i].size);
  }
  zt_text_add(out, "], \"units\": [");
  for (int u = 0; u < params->n_units; u++)
    zt_text_add(out, "%s{\"name\": \"%s\", \"elements\": %" PRId64 "}",
                u ? ", " : "", params->units[u].name, params->units[u].numel);
  zt_text_add(out, "], \"parameters\": [");
  for (int p = 0; p < params->count; p++) {
    zt_text_add(out, p ? ",\n" : "\n");
    add_json_param(v, p, out);
  }
  zt_text_add(out, "]}\n");
}

/* ---- Command ---- */

static zt_status look(view *v) {
  ZT_TRY(zt_weights_model(v->source, 0, &v->model, &v->tensor_of));
  v->param_of = zt_calloc((size_t) v->source->n_tensors, sizeof *v->param_of);
  if (!v->param_of)
    return ZT_ERR_MEMORY;
  zt_weights_params(v->source, &v->model->params, v->tensor_of, v->param_of);
  return ZT_OK;
}

static zt_status print(const view *v, bool json) {
  zt_text out = {0};
  if (json) {
    add_json(v, &out);
  } else {
    add_head(v, &out);
    add_table(v, &out);
  }
  zt_status status = ZT_OK;
  if (out.failed)
    status = zt_fail(ZT_ERR_MEMORY, "%s: out of memory", v->source->path);
  else if (fwrite(out.data, 1, out.size, stdout) != out.size ||
           fflush(stdout) != 0)
    status = zt_fail_errno(ZT_ERR_IO, "standard output: cannot write");
  zt_text_free(&out);
  return status;
}

zt_status zt_info_show_weights(zt_program *program, const char *path,
                               bool json) {
  view v = {0};
  ZT_TRY(zt_open_source(path, program->comm, &v.source));
  zt_status status = look(&v);
  if (status == ZT_OK && program->comm->rank == 0)
    status = print(&v, json);
  status = zt_agree(program->comm, status);
  zt_model_destroy(&v.model);
  zt_source_close(&v.source);
  free(v.tensor_of);
  free(v.param_of);
  return status;
}
