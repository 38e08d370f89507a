/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/weights.h"

#include "base/json.h"
#include "base/memory.h"
#include "io/format.h"

#include <stdio.h>
#include <stdlib.h>

/* Where the configuration is, for messages. */
static const char *config_path(const zt_source *source,
                               char buffer[ZT_MESSAGE_SIZE / 2]) {
  snprintf(buffer, ZT_MESSAGE_SIZE / 2, "%s/%s", source->path, ZT_CONFIG_JSON);
  return buffer;
}

zt_status zt_weights_find_ties(const zt_source *source, zt_weights_ties *ties) {
  char path[ZT_MESSAGE_SIZE / 2];
  json_t *config;
  config_path(source, path);
  *ties = (zt_weights_ties){0};
  ZT_TRY(zt_json_parse(source->config_json, source->config_json_size, path,
                       &config));
  zt_status status = zt_family_find(config, path, &ties->family);
  json_decref(config);
  ZT_TRY(status);
  const zt_family *family = ties->family;
  ties->embedding = zt_source_find(source, family->embedding);
  ties->head = zt_source_find(source, family->head);
  for (const char *const *name = family->embedding_aliases; *name; name++) {
    int found = zt_source_find(source, *name);
    if (found >= 0 && ties->embedding < 0)
      ties->embedding = found;
    else if (found >= 0 && ties->n_aliases < ZT_WEIGHTS_ALIASES)
      ties->aliases[ties->n_aliases++] = found;
  }
  if (ties->embedding < 0)
    ties->embedding = ties->head;
  return ZT_OK;
}

/* Without a matrix for the head it is the embedding, unless the configuration
 * says that it is not: then the file is not whole. */
static zt_status check_head(const zt_source *source, const char *path,
                            const zt_weights_ties *ties) {
  json_t *config;
  bool tied = true;
  if (ties->head >= 0 || ties->family->tied_by_absence)
    return ZT_OK;
  ZT_TRY(zt_json_parse(source->config_json, source->config_json_size, path,
                       &config));
  zt_status status = zt_config_tied(config, path, &tied);
  json_decref(config);
  ZT_TRY(status);
  if (tied)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA,
                 "%s: tensor %s is missing, and tie_word_embeddings is false",
                 source->path, ties->family->head);
}

bool zt_weights_are_tied(const zt_source *source, const zt_weights_ties *ties) {
  return ties->head < 0 || zt_source_root(source, ties->head) ==
                               zt_source_root(source, ties->embedding);
}

zt_status zt_weights_model(const zt_source *source, int64_t unit_limit,
                           zt_model **model, int **tensor_of) {
  zt_weights_ties ties;
  char path[ZT_MESSAGE_SIZE / 2];
  zt_model *m;
  ZT_TRY(zt_weights_find_ties(source, &ties));
  ZT_TRY(check_head(source, config_path(source, path), &ties));
  ZT_TRY(zt_model_create(source->config_json, source->config_json_size, path,
                         zt_weights_are_tied(source, &ties), unit_limit, &m));
  int *map = zt_calloc((size_t) m->params.count, sizeof *map);
  zt_status status =
      map ? zt_source_bind(source, &m->params, map) : ZT_ERR_MEMORY;
  if (status != ZT_OK) {
    zt_model_destroy(&m);
    free(map);
    return status;
  }
  if (tensor_of)
    *tensor_of = map;
  else
    free(map);
  *model = m;
  return ZT_OK;
}

void zt_weights_params(const zt_source *source, const zt_params *params,
                       const int *tensor_of, int *param_of) {
  for (int p = 0; p < params->count; p++)
    param_of[zt_source_root(source, tensor_of[p])] = p;
  for (int i = 0; i < source->n_tensors; i++)
    param_of[i] = param_of[zt_source_root(source, i)];
}
