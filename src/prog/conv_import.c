/* SPDX-License-Identifier: BSD-3-Clause */
/* ztconv import: a Hugging Face directory becomes a weights file. */
#include "base/log.h"
#include "base/memory.h"
#include "comm/agree.h"
#include "prog/conv.h"
#include "prog/open_source.h"
#include "prog/weights_file.h"
#include "train/weights.h"

#include <stdio.h>
#include <stdlib.h>

static const char help_text[] =
    "Usage: ztconv import [--force] HF_DIR OUT.h5\n"
    "Write the weights file OUT.h5 from a Hugging Face directory: config.json\n"
    "and model.safetensors, or model.safetensors.index.json with its shards.\n"
    "Number formats are kept; tying is decided from the tensors.\n"
    "\n"
    "  --force  replace OUT.h5\n";

typedef struct importer {
  zt_source *source;
  zt_model *model;
  int *tensor_of; /* of each parameter */
  int *param_of;  /* of each tensor */
  zt_dtype *dtypes;
  const char **names;
  zt_alias *links;
  int n_links;
} importer;

static zt_status read_parameter(void *context, int param, int64_t begin,
                                int64_t count, void *values) {
  importer *m = context;
  ZT_TRY(zt_fault_check(ZT_FAULT_IMPORT_READ));
  return zt_source_read_raw(m->source, m->tensor_of[param], begin, count,
                            values);
}

static zt_status read_config(void *context, int file, int64_t at, size_t n,
                             void *bytes) {
  importer *m = context;
  return zt_source_read_config(m->source, file, at, n, bytes);
}

/* Every name of the source is kept, so that an export has them all again: of
 * tied tensors one is the dataset, the others are links to it. */
static zt_status plan(importer *m) {
  const zt_source *s = m->source;
  ZT_TRY(zt_weights_model(s, 0, &m->model, &m->tensor_of));
  const size_t count = (size_t) m->model->params.count;
  m->dtypes = zt_calloc(count, sizeof *m->dtypes);
  m->names = zt_calloc(count, sizeof *m->names);
  m->links = zt_calloc((size_t) s->n_tensors, sizeof *m->links);
  m->param_of = zt_calloc((size_t) s->n_tensors, sizeof *m->param_of);
  if (!m->dtypes || !m->names || !m->links || !m->param_of)
    return ZT_ERR_MEMORY;
  for (size_t p = 0; p < count; p++) {
    const zt_source_tensor *t = &s->tensors[zt_source_root(s, m->tensor_of[p])];
    m->dtypes[p] = t->dtype;
    m->names[p] = t->name;
  }
  zt_weights_params(s, &m->model->params, m->tensor_of, m->param_of);
  for (int i = 0; i < s->n_tensors; i++)
    if (zt_source_root(s, i) != i)
      m->links[m->n_links++] = (zt_alias){s->tensors[i].name, m->param_of[i]};
  return ZT_OK;
}

static zt_status convert(importer *m, const char *path, bool replace) {
  zt_comm *comm = m->source->comm;
  ZT_TRY(zt_agree(comm, plan(m)));
  const zt_weights_file file = {.path = path,
                                .replace = replace,
                                .verb = "import",
                                .spec = {.family = m->model->family->name,
                                         .model_type = m->model->model_type,
                                         .params = &m->model->params,
                                         .dtypes = m->dtypes,
                                         .names = m->names,
                                         .links = m->links,
                                         .n_links = m->n_links,
                                         .config = m->source->config,
                                         .n_config = m->source->n_config},
                                .parameter = read_parameter,
                                .config = read_config,
                                .context = m};
  uint64_t digest;
  zt_transfer_report report;
  ZT_TRY(zt_weights_file_write(&file, comm, &digest, &report));
  zt_info("%s: family %s, embedding and head %s", path, m->model->family->name,
          m->model->shape.tied ? "tied" : "not tied");
  zt_weights_file_say(&file, digest, &report);
  return ZT_OK;
}

zt_status zt_conv_import(zt_program *program, int argc, char **argv) {
  static const struct option options[] = {{"force", no_argument, NULL, 'f'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  bool replace = false;
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "fh", options, &option));
    if (option < 0)
      break;
    if (option == 'h')
      return zt_command_help(program, help_text);
    replace = true;
  }
  ZT_TRY(zt_check_operands(argc, 2, 2, "ztconv import HF_DIR OUT.h5"));
  importer m = {0};
  ZT_TRY(zt_open_hf(argv[optind], program->comm, &m.source));
  zt_status status = convert(&m, argv[optind + 1], replace);
  zt_model_destroy(&m.model);
  zt_source_close(&m.source);
  free(m.tensor_of);
  free(m.param_of);
  free(m.dtypes);
  free(m.names);
  free(m.links);
  return status;
}
