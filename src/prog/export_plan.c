/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/export_plan.h"

#include "base/memory.h"
#include "io/hfdir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Order and shards ---- */

typedef struct ranked {
  int param, tensor;
} ranked;

static int by_param(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->param != y->param)
    return x->param < y->param ? -1 : 1;
  return x->tensor < y->tensor ? -1 : 1;
}

/* Canonical order; further names follow the first. */
static zt_status list_entries(const zt_source *source, const int *param_of,
                              bool cast, zt_dtype dtype, zt_export_plan *plan) {
  const size_t n = (size_t) source->n_tensors;
  ranked *order = zt_calloc(n, sizeof *order);
  plan->entries = zt_calloc(n, sizeof *plan->entries);
  plan->shard_of = zt_calloc(n, sizeof *plan->shard_of);
  plan->start = zt_calloc(n + 1, sizeof *plan->start);
  plan->shards = zt_calloc(n, sizeof *plan->shards);
  if (!order || !plan->entries || !plan->shard_of || !plan->start ||
      !plan->shards) {
    free(order);
    return ZT_ERR_MEMORY;
  }
  for (size_t i = 0; i < n; i++)
    order[i] = (ranked){param_of[i], (int) i};
  qsort(order, n, sizeof *order, by_param);
  for (size_t i = 0; i < n; i++) {
    const zt_source_tensor *t = &source->tensors[order[i].tensor];
    zt_safetensors_entry *e = &plan->entries[i];
    *e = (zt_safetensors_entry){.name = t->name,
                                .dtype = cast ? dtype : t->dtype,
                                .ndim = t->ndim,
                                .id = order[i].tensor};
    memcpy(e->dims, t->dims, sizeof e->dims);
    e->bytes = t->numel * (int64_t) zt_dtype_size(e->dtype);
  }
  for (size_t i = 0; i < n; i++)
    if (zt_source_root(source, (int) i) == (int) i)
      plan->parameters += source->tensors[i].numel;
  plan->n_entries = (int) n;
  free(order);
  return ZT_OK;
}

/* As Transformers does it: fill a shard until the next tensor does not fit. */
static zt_status cut_shards(zt_export_plan *plan, int64_t most) {
  int64_t used = 0;
  for (int i = 0; i < plan->n_entries; i++) {
    int64_t bytes = plan->entries[i].bytes;
    if (i == 0 || used > most - bytes) {
      if (plan->n_shards == ZT_EXPORT_SHARDS)
        return zt_fail(ZT_ERR_USAGE,
                       "--max-shard-size %" PRId64
                       " makes more than %d files; give a larger one",
                       most, ZT_EXPORT_SHARDS);
      plan->shards[plan->n_shards++].first = i;
      used = 0;
    }
    plan->shards[plan->n_shards - 1].count++;
    used += bytes;
  }
  return ZT_OK;
}

zt_status zt_export_plan_make(const zt_source *source, const int *param_of,
                              bool cast, zt_dtype dtype, int64_t most,
                              zt_export_plan *plan) {
  *plan = (zt_export_plan){0};
  ZT_TRY(list_entries(source, param_of, cast, dtype, plan));
  ZT_TRY(cut_shards(plan, most));
  for (int k = 0; k < plan->n_shards; k++) {
    zt_export_shard *shard = &plan->shards[k];
    if (plan->n_shards == 1)
      snprintf(shard->name, sizeof shard->name, ZT_HF_SINGLE);
    else
      snprintf(shard->name, sizeof shard->name,
               "model-%05d-of-%05d.safetensors", k + 1, plan->n_shards);
    ZT_TRY(zt_safetensors_layout(plan->entries + shard->first, shard->count,
                                 &shard->head, &shard->size));
    for (int i = shard->first; i < shard->first + shard->count; i++)
      plan->shard_of[i] = k;
  }
  for (int i = 0; i < plan->n_entries; i++)
    plan->start[i + 1] = plan->start[i] + plan->entries[i].bytes;
  return ZT_OK;
}

void zt_export_plan_free(zt_export_plan *plan) {
  for (int k = 0; k < plan->n_shards; k++)
    zt_text_free(&plan->shards[k].head);
  free(plan->entries);
  free(plan->shard_of);
  free(plan->start);
  free(plan->shards);
  *plan = (zt_export_plan){0};
}

/* ---- Index ---- */

typedef struct named {
  const char *name, *file;
} named;

static int by_name(const void *a, const void *b) {
  return strcmp(((const named *) a)->name, ((const named *) b)->name);
}

zt_status zt_export_plan_index(const zt_export_plan *plan, zt_text *out) {
  const size_t n = (size_t) plan->n_entries;
  named *map = zt_calloc(n, sizeof *map);
  if (!map)
    return ZT_ERR_MEMORY;
  for (size_t i = 0; i < n; i++)
    map[i] =
        (named){plan->entries[i].name, plan->shards[plan->shard_of[i]].name};
  qsort(map, n, sizeof *map, by_name);
  *out = (zt_text){0};
  zt_text_add(out,
              "{\n  \"metadata\": {\n    \"total_parameters\": %" PRId64
              ",\n    \"total_size\": %" PRId64 "\n  },\n  \"weight_map\": {\n",
              plan->parameters, plan->start[n]);
  for (size_t i = 0; i < n; i++) {
    zt_text_append(out, "    ", 4);
    zt_text_add_json(out, map[i].name, strlen(map[i].name));
    zt_text_add(out, ": \"%s\"%s\n", map[i].file, i + 1 < n ? "," : "");
  }
  zt_text_add(out, "  }\n}\n");
  free(map);
  if (!out->failed)
    return ZT_OK;
  zt_text_free(out);
  return zt_fail(ZT_ERR_MEMORY, "out of memory (index of %zu tensors)", n);
}
