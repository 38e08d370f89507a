/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/data.h"

#include "base/text.h"

#include <inttypes.h>

/* With a batch of `weights`, NULL: all files as one. */
static zt_status open_files(char *const *paths, int n, const double *weights,
                            const zt_batch_spec *spec, zt_data *data) {
  zt_status status = ZT_OK;
  *data = (zt_data){0};
  for (int i = 0; i < n && status == ZT_OK; i++) {
    status = zt_tokens_open(paths[i], &data->tokens[i]);
    data->n += status == ZT_OK;
  }
  if (status == ZT_OK)
    status = zt_batch_create(spec, data->tokens, weights, n, &data->batch);
  if (status != ZT_OK)
    zt_data_close(data);
  return status;
}

zt_status zt_data_open_train(const zt_settings *s, const zt_batch_spec *spec,
                             zt_data *data) {
  const double *weights = s->data.weights.n > 0 ? s->data.weights.at : NULL;
  return open_files(s->data.train.at, s->data.train.n, weights, spec, data);
}

bool zt_data_has_valid(const zt_settings *s) {
  return *s->data.valid || s->data.valid_fraction > 0;
}

zt_status zt_data_open_valid(const zt_settings *s, const zt_batch_spec *spec,
                             zt_data *data) {
  zt_batch_spec valid = *spec;
  valid.shuffled = false;
  valid.seed = 0;
  valid.held_out = !*s->data.valid;
  if (!valid.held_out)
    return open_files(&s->data.valid, 1, NULL, &valid, data);
  return open_files(s->data.train.at, s->data.train.n, NULL, &valid, data);
}

void zt_data_close(zt_data *data) {
  zt_batch_destroy(&data->batch);
  for (int i = 0; i < data->n; i++)
    zt_tokens_close(&data->tokens[i]);
  *data = (zt_data){0};
}

json_t *zt_data_digest(const zt_data *data) {
  zt_text text = {0};
  for (int i = 0; i < data->n; i++)
    zt_text_add(&text, "%s%016" PRIx64, i ? " " : "",
                zt_tokens_about(data->tokens[i])->digest);
  json_t *digest = text.failed ? NULL : json_string(text.data);
  zt_text_free(&text);
  return digest;
}
