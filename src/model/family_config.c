/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/family_config.h"

#include "base/json.h"

#include <inttypes.h>
#include <string.h>

zt_status zt_config_ints(json_t *config, const char *path,
                         const zt_config_int *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    ZT_TRY(zt_json_int(config, path, list[i].key, list[i].required,
                       list[i].least, list[i].most, list[i].value));
  return ZT_OK;
}

zt_status zt_config_reals(json_t *config, const char *path,
                          const zt_config_real *list, size_t n) {
  for (size_t i = 0; i < n; i++) {
    double *value = list[i].value;
    ZT_TRY(zt_json_real(config, path, list[i].key, false, value));
    if (!(*value >= 0 && *value <= list[i].most))
      return zt_fail(ZT_ERR_DATA, "%s: \"%s\" is %g, outside 0..%g", path,
                     list[i].key, *value, list[i].most);
  }
  return ZT_OK;
}

zt_status zt_config_activation(const char *path, const char *key,
                               const char *text, const char *name,
                               zt_activation_kind *kind) {
  static const struct {
    const char *name;
    zt_activation_kind kind;
  } known[] = {{"relu", ZT_RELU},         {"gelu", ZT_GELU},
               {"gelu_new", ZT_GELU_NEW}, {"gelu_pytorch_tanh", ZT_GELU_NEW},
               {"silu", ZT_SILU},         {"swish", ZT_SILU}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(name, known[i].name)) {
      *kind = known[i].kind;
      return ZT_OK;
    }
  return zt_fail(ZT_ERR_DATA,
                 "%s: %s \"%.40s\" is not supported (relu, gelu, gelu_new, "
                 "gelu_pytorch_tanh and silu are)",
                 path, key, text);
}

static zt_status add_stop(zt_model_shape *s, const char *path, json_t *id) {
  if (!json_is_integer(id) || json_integer_value(id) < 0 ||
      json_integer_value(id) >= s->vocabulary)
    return zt_fail(ZT_ERR_DATA,
                   "%s: eos_token_id is no id from 0 to %" PRId64
                   ", nor a list of them",
                   path, s->vocabulary - 1);
  if (s->n_stop_ids == ZT_MAX_STOP_IDS)
    return zt_fail(ZT_ERR_DATA, "%s: eos_token_id has more than %d ids", path,
                   ZT_MAX_STOP_IDS);
  s->stop_ids[s->n_stop_ids++] = (int32_t) json_integer_value(id);
  return ZT_OK;
}

zt_status zt_config_stop_ids(zt_model_shape *s, json_t *config,
                             const char *path) {
  json_t *eos = json_object_get(config, "eos_token_id"), *id;
  size_t i;
  s->n_stop_ids = 0;
  if (json_is_array(eos)) {
    json_array_foreach(eos, i, id) {
      ZT_TRY(add_stop(s, path, id));
    }
  } else if (eos && !json_is_null(eos)) {
    ZT_TRY(add_stop(s, path, eos));
  }
  return ZT_OK;
}

zt_status zt_config_special_ids(zt_model_shape *s, json_t *config,
                                const char *path) {
  s->eos_id = s->pad_id = s->start_id = -1;
  ZT_TRY(zt_config_stop_ids(s, config, path));
  if (s->n_stop_ids > 0)
    s->eos_id = s->stop_ids[0];
  /* Llama 2's files say -1 for none. */
  return zt_json_int(config, path, "pad_token_id", false, -1, s->vocabulary - 1,
                     &s->pad_id);
}

zt_status zt_config_refuse(json_t *config, const char *path, const char *key) {
  json_t *value = json_object_get(config, key);
  bool empty = !value || json_is_null(value) || json_is_false(value) ||
               (json_is_number(value) && json_number_value(value) == 0) ||
               (json_is_object(value) && json_object_size(value) == 0) ||
               (json_is_array(value) && json_array_size(value) == 0);
  if (empty)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA, "%s: \"%s\" is set, which is not supported", path,
                 key);
}
