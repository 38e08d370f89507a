/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/model_files.h"

#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/family_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int find_config(const zt_source *source, const char *name) {
  for (int i = 0; i < source->n_config; i++)
    if (!strcmp(source->config[i].name, name))
      return i;
  return -1;
}

/* A configuration file in memory, NUL-terminated. */
static zt_status read_config(zt_source *source, int file, char **bytes) {
  size_t size = (size_t) source->config[file].size;
  if (!(*bytes = zt_calloc(size + 1, 1)))
    return ZT_ERR_MEMORY;
  zt_status status = zt_source_read_config(source, file, 0, size, *bytes);
  if (status != ZT_OK)
    free(*bytes);
  return status;
}

/* As JSON; NULL: the model has no such file. */
static zt_status read_json(zt_source *source, const char *name, json_t **json) {
  int file = find_config(source, name);
  char *text, path[PATH_MAX];
  *json = NULL;
  if (file < 0)
    return ZT_OK;
  ZT_TRY(zt_path(path, "%s: %s", source->path, name));
  ZT_TRY(read_config(source, file, &text));
  zt_status status =
      zt_json_parse(text, (size_t) source->config[file].size, path, json);
  free(text);
  return status;
}

/* ---- Tokenizer ---- */

/* Libraries want a path: a file is lent one in memory.
 * fd  -1: the model has no such file */
static zt_status lend(zt_source *source, int file, int *fd, char path[64]) {
  char *bytes;
  *fd = -1;
  if (file < 0)
    return ZT_OK;
  size_t size = (size_t) source->config[file].size;
  ZT_TRY(read_config(source, file, &bytes));
  *fd = memfd_create(source->config[file].name, MFD_CLOEXEC);
  ssize_t written = *fd < 0 ? -1 : write(*fd, bytes, size);
  free(bytes);
  snprintf(path, 64, "/proc/self/fd/%d", *fd);
  if (written == (ssize_t) size)
    return ZT_OK;
  return zt_fail_errno(ZT_ERR_MEMORY, "no memory for the tokenizer");
}

static zt_status open_kept(zt_source *source, int file,
                           zt_tokenizer **tokenizer) {
  int fds[2] = {-1, -1};
  char path[64], config[64];
  zt_status status = lend(source, file, &fds[0], path);
  if (status == ZT_OK)
    status = lend(source, find_config(source, "tokenizer_config.json"), &fds[1],
                  config);
  if (status == ZT_OK)
    status =
        zt_tokenizer_open_with(path, fds[1] < 0 ? NULL : config, tokenizer);
  for (int i = 0; i < 2; i++)
    if (fds[i] >= 0)
      close(fds[i]);
  return status;
}

/* Whether tokenizer_config.json asks for bytes. */
static zt_status wants_bytes(zt_source *source, bool *bytes) {
  json_t *config;
  const char *class = "";
  ZT_TRY(read_json(source, "tokenizer_config.json", &config));
  if (zt_json_string(config, source->path, "tokenizer_class", false, &class) ==
      ZT_OK)
    *bytes = !strcmp(class, "ByT5Tokenizer");
  json_decref(config);
  return ZT_OK;
}

zt_status zt_model_tokenizer(zt_source *source, const zt_model *model,
                             const char *wish, zt_tokenizer **tokenizer) {
  bool bytes = model->byte_tokenizer;
  *tokenizer = NULL;
  if (wish)
    return zt_tokenizer_open(wish, tokenizer);
  if (!bytes)
    ZT_TRY(wants_bytes(source, &bytes));
  if (bytes)
    return zt_tokenizer_open("bytes", tokenizer);
  /* A tokenizer.json beside a SentencePiece model says the same. */
  static const char *const names[] = {"spiece.model", "tokenizer.model",
                                      "tokenizer.json"};
  for (size_t i = 0; !*tokenizer && i < sizeof names / sizeof *names; i++) {
    int file = find_config(source, names[i]);
    /* Ids can do without. */
    if (file >= 0 && open_kept(source, file, tokenizer) != ZT_OK)
      zt_warn("the model's %s is not used: %s", names[i], zt_last_error());
  }
  return ZT_OK;
}

/* ---- Ends of texts ---- */

zt_status zt_model_stop_ids(zt_source *source, zt_model *model) {
  json_t *config;
  zt_model_shape ends = model->shape;
  ZT_TRY(read_json(source, "generation_config.json", &config));
  zt_status status =
      zt_config_stop_ids(&ends, config, "generation_config.json");
  json_decref(config);
  ZT_TRY(status);
  if (ends.n_stop_ids > 0)
    model->shape = ends;
  return ZT_OK;
}
