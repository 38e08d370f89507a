/* SPDX-License-Identifier: BSD-3-Clause */
/* The order of fp32 roundings is that of Transformers' modeling_rope_utils: an
 * angle at position 100,000 shows the last bit of its frequency. */
#include "model/rotary.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

/* ---- Configuration ---- */

/* Older files call it rope_scaling, and then that wins. */
static zt_status find_parameters(json_t *config, const char *path,
                                 json_t **parameters) {
  static const char *const keys[] = {"rope_scaling", "rope_parameters"};
  *parameters = NULL;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    json_t *value = json_object_get(config, keys[i]);
    if (!value || json_is_null(value))
      continue;
    if (!json_is_object(value))
      return zt_fail(ZT_ERR_DATA, "%s: \"%s\" is no object", path, keys[i]);
    if (json_object_size(value) > 0 && !*parameters)
      *parameters = value;
  }
  const char *key;
  json_t *value;
  json_object_foreach(*parameters, key, value) {
    if (json_is_object(value))
      return zt_fail(ZT_ERR_DATA,
                     "%s: rotary positions by layer (\"%.40s\") are not "
                     "supported",
                     path, key);
  }
  return ZT_OK;
}

/* A number > 0. */
static zt_status read_positive(json_t *object, const char *path,
                               const char *key, bool required, double *value) {
  ZT_TRY(zt_json_real(object, path, key, required, value));
  if (!(*value > 0) || !isfinite(*value))
    return zt_fail(ZT_ERR_DATA, "%s: \"%s\" is %g, not above 0", path, key,
                   *value);
  return ZT_OK;
}

static zt_status read_kind(json_t *parameters, const char *path,
                           zt_rotary_kind *kind) {
  static const struct {
    const char *name;
    zt_rotary_kind kind;
  } known[] = {{"default", ZT_ROTARY_DEFAULT},
               {"linear", ZT_ROTARY_LINEAR},
               {"llama3", ZT_ROTARY_LLAMA3}};
  const char *name = "default";
  ZT_TRY(zt_json_string(parameters, path, "type", false, &name));
  ZT_TRY(zt_json_string(parameters, path, "rope_type", false, &name));
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(name, known[i].name)) {
      *kind = known[i].kind;
      return ZT_OK;
    }
  return zt_fail(ZT_ERR_DATA,
                 "%s: rope_type \"%.40s\" is not supported (default, linear "
                 "and llama3 are)",
                 path, name);
}

static zt_status read_llama3(json_t *config, json_t *parameters,
                             const char *path, zt_rotary *r) {
  static const char key[] = "original_max_position_embeddings";
  ZT_TRY(read_positive(parameters, path, "low_freq_factor", true, &r->low));
  ZT_TRY(read_positive(parameters, path, "high_freq_factor", true, &r->high));
  if (!(r->high > r->low))
    return zt_fail(ZT_ERR_DATA,
                   "%s: high_freq_factor %g is not above low_freq_factor %g",
                   path, r->high, r->low);
  json_t *from = json_object_get(config, key) ? config : parameters;
  if (json_object_get(from, key))
    return read_positive(from, path, key, true, &r->original);
  return read_positive(config, path, "max_position_embeddings", true,
                       &r->original);
}

zt_status zt_rotary_read(json_t *config, const char *path, zt_rotary *r) {
  double partial = 1;
  json_t *parameters;
  *r = (zt_rotary){.kind = ZT_ROTARY_DEFAULT, .theta = 10000, .factor = 1};
  ZT_TRY(find_parameters(config, path, &parameters));
  ZT_TRY(read_positive(config, path, "rope_theta", false, &r->theta));
  ZT_TRY(read_positive(config, path, "partial_rotary_factor", false, &partial));
  if (parameters) {
    ZT_TRY(read_kind(parameters, path, &r->kind));
    ZT_TRY(read_positive(parameters, path, "rope_theta", false, &r->theta));
    ZT_TRY(read_positive(parameters, path, "partial_rotary_factor", false,
                         &partial));
  }
  if (partial != 1)
    return zt_fail(ZT_ERR_DATA,
                   "%s: partial_rotary_factor %g is not supported, 1 is", path,
                   partial);
  if (r->kind != ZT_ROTARY_DEFAULT)
    ZT_TRY(read_positive(parameters, path, "factor", true, &r->factor));
  if (r->kind == ZT_ROTARY_LLAMA3)
    ZT_TRY(read_llama3(config, parameters, path, r));
  return ZT_OK;
}

/* ---- Angles ---- */

/* Source: Llama 3.1, as _compute_llama3_parameters has it. */
static float stretch(const zt_rotary *r, float frequency) {
  const float factor = (float) r->factor, original = (float) r->original;
  const float low = (float) r->low;
  float length = (float) 6.283185307179586 / frequency;
  if (length > (float) (r->original / r->low))
    return frequency / factor;
  if (length < (float) (r->original / r->high))
    return frequency;
  float smooth = (original / length - low) / (float) (r->high - r->low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

static float frequency_of(const zt_rotary *r, int64_t i, int64_t head_dim) {
  float exponent = (float) (2 * i) / (float) head_dim;
  float power = (float) pow((double) (float) r->theta, (double) exponent);
  float frequency = 1 / power;
  if (r->kind == ZT_ROTARY_LINEAR)
    return frequency / (float) r->factor;
  return r->kind == ZT_ROTARY_LLAMA3 ? stretch(r, frequency) : frequency;
}

void zt_rotary_fill(const zt_rotary *r, int64_t head_dim, int64_t positions,
                    float *table) {
  int64_t half = head_dim / 2;
  for (int64_t i = 0; i < half; i++) {
    float frequency = frequency_of(r, i, head_dim);
    for (int64_t p = 0; p < positions; p++) {
      double angle = (double) ((float) p * frequency);
      table[p * head_dim + i] = (float) cos(angle);
      table[p * head_dim + half + i] = (float) sin(angle);
    }
  }
}
