/* SPDX-License-Identifier: BSD-3-Clause */
#include "layout/params.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

zt_status zt_params_begin_unit(zt_params *params, const char *name) {
  if (!zt_grow(&params->units, &params->units_capacity,
               (size_t) params->n_units, sizeof *params->units))
    return ZT_ERR_MEMORY;
  zt_unit *unit = &params->units[params->n_units];
  *unit = (zt_unit){
      .name = zt_strdup(name), .first = params->count, .start = params->numel};
  if (!unit->name)
    return ZT_ERR_MEMORY;
  params->n_units++;
  return ZT_OK;
}

zt_status zt_params_add(zt_params *params, const char *name, int ndim,
                        const int64_t *dims, bool decay, zt_init init,
                        int *index) {
  if (!zt_grow(&params->list, &params->capacity, (size_t) params->count,
               sizeof *params->list))
    return ZT_ERR_MEMORY;
  zt_unit *unit = &params->units[params->n_units - 1];
  zt_param *param = &params->list[params->count];
  *param = (zt_param){.ndim = ndim,
                      .numel = 1,
                      .unit = params->n_units - 1,
                      .at = unit->numel,
                      .vector = params->vectors,
                      .decay = decay,
                      .init = init};
  for (int i = 0; i < ndim; i++) {
    param->dims[i] = dims[i];
    if (dims[i] < 1 || zt_mul_overflows(param->numel, dims[i], &param->numel))
      return zt_fail(ZT_ERR_DATA, "parameter %s: impossible shape", name);
  }
  if (zt_add_overflows(params->numel, param->numel, &params->numel))
    return zt_fail(ZT_ERR_DATA, "parameter %s: impossible shape", name);
  if (!(param->name = zt_strdup(name)))
    return ZT_ERR_MEMORY;
  if (ndim == 1)
    params->vectors += param->numel;
  unit->numel += param->numel;
  unit->count++;
  if (index)
    *index = params->count;
  params->count++;
  return ZT_OK;
}

zt_status zt_params_add_alias(zt_params *params, const char *name, int param) {
  if (!zt_grow(&params->aliases, &params->aliases_capacity,
               (size_t) params->n_aliases, sizeof *params->aliases))
    return ZT_ERR_MEMORY;
  zt_alias *alias = &params->aliases[params->n_aliases];
  *alias = (zt_alias){.name = zt_strdup(name), .param = param};
  if (!alias->name)
    return ZT_ERR_MEMORY;
  params->n_aliases++;
  return ZT_OK;
}

/* qsort has no argument for the table. */
typedef struct named {
  const char *name;
  int index;
} named;

static int by_name(const void *a, const void *b) {
  return strcmp(((const named *) a)->name, ((const named *) b)->name);
}

zt_status zt_params_finish(zt_params *params) {
  size_t n = (size_t) params->count;
  named *order = zt_calloc(n, sizeof *order);
  params->by_name = zt_calloc(n, sizeof *params->by_name);
  if (!order || !params->by_name) {
    free(order);
    return ZT_ERR_MEMORY;
  }
  for (size_t i = 0; i < n; i++)
    order[i] = (named){params->list[i].name, (int) i};
  qsort(order, n, sizeof *order, by_name);
  zt_status status = ZT_OK;
  for (size_t i = 0; i < n; i++) {
    params->by_name[i] = order[i].index;
    if (i > 0 && !strcmp(order[i].name, order[i - 1].name))
      status = zt_fail(ZT_ERR_DATA, "parameter %s stands twice", order[i].name);
  }
  free(order);
  return status;
}

zt_status zt_params_copy(const zt_params *from, zt_params *to) {
  for (int u = 0; u < from->n_units; u++) {
    const zt_unit *unit = &from->units[u];
    ZT_TRY(zt_params_begin_unit(to, unit->name));
    for (int i = unit->first; i < unit->first + unit->count; i++) {
      const zt_param *p = &from->list[i];
      ZT_TRY(zt_params_add(to, p->name, p->ndim, p->dims, p->decay, p->init,
                           NULL));
    }
  }
  for (int i = 0; i < from->n_aliases; i++)
    ZT_TRY(
        zt_params_add_alias(to, from->aliases[i].name, from->aliases[i].param));
  return ZT_OK;
}

void zt_params_free(zt_params *params) {
  for (int i = 0; i < params->count; i++)
    free(params->list[i].name);
  for (int i = 0; i < params->n_units; i++)
    free(params->units[i].name);
  for (int i = 0; i < params->n_aliases; i++)
    free(params->aliases[i].name);
  free(params->list);
  free(params->units);
  free(params->aliases);
  free(params->by_name);
  *params = (zt_params){0};
}

int zt_params_find(const zt_params *params, const char *name) {
  int low = 0, high = params->count - 1;
  while (low <= high) {
    int mid = (low + high) / 2, index = params->by_name[mid];
    int order = strcmp(name, params->list[index].name);
    if (order == 0)
      return index;
    if (order < 0)
      high = mid - 1;
    else
      low = mid + 1;
  }
  return -1;
}

int zt_params_find_any(const zt_params *params, const char *name) {
  int index = zt_params_find(params, name);
  for (int i = 0; index < 0 && i < params->n_aliases; i++)
    if (!strcmp(params->aliases[i].name, name))
      index = params->aliases[i].param;
  return index;
}

int64_t zt_params_largest_unit(const zt_params *params) {
  int64_t most = 0;
  for (int i = 0; i < params->n_units; i++)
    if (params->units[i].numel > most)
      most = params->units[i].numel;
  return most;
}

int zt_params_at(const zt_params *params, int64_t flat) {
  int low = 0, high = params->count - 1;
  while (low < high) {
    int mid = (low + high + 1) / 2;
    const zt_param *param = &params->list[mid];
    if (params->units[param->unit].start + param->at <= flat)
      low = mid;
    else
      high = mid - 1;
  }
  return low;
}

const char *zt_shape_text(int ndim, const int64_t *dims, char buffer[96]) {
  size_t used = 0;
  buffer[used++] = '[';
  for (int i = 0; i < ndim && used < 80; i++)
    used += (size_t) snprintf(buffer + used, 96 - used,
                              i ? ",%" PRId64 : "%" PRId64, dims[i]);
  snprintf(buffer + used, 96 - used, "]");
  return buffer;
}
