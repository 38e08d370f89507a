/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/model.h"

#include "base/json.h"
#include "base/memory.h"
#include "model/family_config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const zt_family *const families[] = {&zt_family_t5, &zt_family_llama,
                                            &zt_family_gpt2};

zt_status zt_family_find(json_t *config, const char *path,
                         const zt_family **family) {
  const char *type;
  ZT_TRY(zt_json_string(config, path, "model_type", true, &type));
  for (size_t i = 0; i < sizeof families / sizeof *families; i++)
    for (const char *const *t = families[i]->model_types; *t; t++)
      if (!strcmp(type, *t)) {
        *family = families[i];
        return ZT_OK;
      }
  return zt_fail(ZT_ERR_DATA,
                 "%s: model_type \"%.40s\" is not supported (t5, mt5, llama, "
                 "mistral, qwen2 and gpt2 are)",
                 path, type);
}

zt_status zt_config_tied(json_t *config, const char *path, bool *tied) {
  const zt_family *family;
  ZT_TRY(zt_family_find(config, path, &family));
  *tied = family->tied_by_default;
  return zt_json_bool(config, path, "tie_word_embeddings", false, tied);
}

static zt_status configure(zt_model *model, json_t *config, const char *path) {
  ZT_TRY(zt_family_find(config, path, &model->family));
  const char *text = "";
  ZT_TRY(zt_json_string(config, path, "model_type", true, &text));
  snprintf(model->model_type, sizeof model->model_type, "%s", text);
  text = "";
  ZT_TRY(zt_json_string(config, path, "tokenizer_class", false, &text));
  model->byte_tokenizer = !strcmp(text, "ByT5Tokenizer");
  ZT_TRY(zt_config_refuse(config, path, "quantization_config"));
  return model->family->configure(model, config, path);
}

/* Gathering is by unit, so a limit that a unit exceeds cannot be kept. */
static zt_status check_limit(const zt_model *model) {
  if (model->unit_limit == 0)
    return ZT_OK;
  for (int u = 0; u < model->params.n_units; u++) {
    const zt_unit *unit = &model->params.units[u];
    if (unit->numel > model->unit_limit)
      return zt_fail(ZT_ERR_CONFIG,
                     "zero.unit_limit = %" PRId64 ": unit %s has %" PRId64
                     " elements and cannot be cut; the least limit is %" PRId64,
                     model->unit_limit, unit->name, unit->numel,
                     zt_params_largest_unit(&model->params));
  }
  return ZT_OK;
}

zt_status zt_model_create(const char *config, size_t size, const char *path,
                          bool tied, int64_t unit_limit, zt_model **model) {
  zt_model *m = zt_calloc(1, sizeof *m);
  if (!m)
    return ZT_ERR_MEMORY;
  json_t *root = NULL;
  zt_status status = zt_json_parse(config, size, path, &root);
  if (status == ZT_OK)
    status = configure(m, root, path);
  json_decref(root);
  m->shape.tied = tied;
  m->unit_limit = unit_limit;
  if (status == ZT_OK)
    status = m->family->build(m);
  if (status == ZT_OK)
    status = zt_params_finish(&m->params);
  if (status == ZT_OK)
    status = check_limit(m);
  if (status != ZT_OK) {
    zt_model_destroy(&m);
    return status;
  }
  *model = m;
  return ZT_OK;
}

void zt_model_destroy(zt_model **model) {
  if (!*model)
    return;
  zt_params_free(&(*model)->params);
  free((*model)->stages);
  free(*model);
  *model = NULL;
}

zt_status zt_model_add_stage(zt_model *model, zt_stage stage) {
  size_t n = (size_t) model->n_stages;
  zt_stage *grown = realloc(model->stages, (n + 1) * sizeof *grown);
  if (!grown)
    return zt_fail(ZT_ERR_MEMORY, "out of memory (%zu stages)", n + 1);
  model->stages = grown;
  model->stages[model->n_stages++] = stage;
  return ZT_OK;
}
