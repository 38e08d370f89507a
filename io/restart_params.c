/* SPDX-License-Identifier: BSD-3-Clause */
/* What a manifest says of parameters, checked once for all who use it. */
#include "base/json.h"
#include "base/memory.h"
#include "io/format.h"
#include "io/restart_inside.h"
#include "io/safetensors.h"

#include <string.h>

static zt_status refuse(const zt_restart *r, const char *what,
                        const char *name) {
  return zt_fail(ZT_ERR_DATA, "%s/%s: %s%.80s cannot be", r->path, ZT_MANIFEST,
                 what, zt_safetensors_is_name(name) ? name : "?");
}

/* Names become datasets and parts of messages. */
static bool is_name(const char *name) {
  return name && zt_safetensors_is_name(name) && !strchr(name, '/');
}

/* Each begins where the last one ended. */
static zt_status check_parameter(const zt_restart *r, json_t *entry,
                                 json_t *names, int64_t *at) {
  const char *name = json_string_value(json_object_get(entry, "name"));
  json_t *shape = json_object_get(entry, "shape"), *dim;
  json_t *start = json_object_get(entry, "start");
  int64_t numel = 1;
  size_t d, ndim = json_array_size(shape);
  bool fits = is_name(name) && !json_object_get(names, name) && ndim >= 1 &&
              ndim <= ZT_MAX_DIMS && json_is_integer(start) &&
              json_integer_value(start) == *at;
  json_array_foreach(shape, d, dim) {
    fits = fits && json_is_integer(dim) && json_integer_value(dim) >= 1 &&
           !zt_mul_overflows(numel, json_integer_value(dim), &numel);
  }
  if (!fits || zt_add_overflows(*at, numel, at))
    return refuse(r, "parameter ", name ? name : "");
  if (json_object_set_new(names, name, json_true()) != 0)
    return zt_fail(ZT_ERR_MEMORY, "out of memory (names)");
  return ZT_OK;
}

static zt_status check_all(zt_restart *r, json_t *names) {
  const zt_restart_inside *in = r->inside;
  json_t *entry, *target;
  const char *alias;
  int64_t at = 0;
  size_t i;
  json_array_foreach(json_object_get(r->manifest, "parameters"), i, entry) {
    ZT_TRY(check_parameter(r, entry, names, &at));
  }
  r->numel = in->unit_start[in->n_units];
  r->statistics = r->numel - at;
  json_array_foreach(json_object_get(r->manifest, "statistics"), i, entry) {
    ZT_TRY(check_parameter(r, entry, names, &at));
  }
  if (at != in->unit_start[in->n_units])
    return zt_fail(ZT_ERR_DATA, "%s/%s: the parameters do not fill the units",
                   r->path, ZT_MANIFEST);
  json_object_foreach(json_object_get(r->manifest, "aliases"), alias, target) {
    const char *name = json_string_value(target);
    if (!is_name(alias) || json_object_get(names, alias) || !name ||
        !json_object_get(names, name))
      return refuse(r, "alias ", alias);
  }
  return ZT_OK;
}

zt_status zt_restart_check_manifest(zt_restart *r) {
  json_t *names = json_object();
  zt_status status = names ? check_all(r, names)
                           : zt_fail(ZT_ERR_MEMORY, "out of memory (names)");
  json_decref(names);
  return status;
}

zt_status zt_restart_statistics(const zt_restart *restart, zt_params *table) {
  json_t *entry, *shape, *dim;
  size_t i, d;
  ZT_TRY(zt_params_begin_unit(table, "statistics"));
  json_array_foreach(json_object_get(restart->manifest, "statistics"), i,
                     entry) {
    int64_t dims[ZT_MAX_DIMS];
    shape = json_object_get(entry, "shape");
    json_array_foreach(shape, d, dim) {
      dims[d] = json_integer_value(dim);
    }
    ZT_TRY(zt_params_add(table,
                         json_string_value(json_object_get(entry, "name")),
                         (int) d, dims, false, (zt_init){0}, NULL));
  }
  return ZT_OK;
}
