/* SPDX-License-Identifier: BSD-3-Clause */
/* ztconv init: random weights by the family's published rules. */
#include "base/json.h"
#include "base/memory.h"
#include "base/random.h"
#include "comm/agree.h"
#include "io/digest.h"
#include "io/format.h"
#include "prog/conv.h"
#include "prog/open_source.h"
#include "prog/weights_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "Usage: ztconv init [OPTION]... CONFIG.json OUT.h5\n"
    "Write the weights file OUT.h5 with random weights for a Hugging Face\n"
    "config.json, distributed as its family publishes.\n"
    "\n"
    "  --seed S   which random weights (default 1)\n"
    "  --dtype D  fp32 (default), bf16 or fp16\n"
    "  --force    replace OUT.h5\n";

typedef struct init {
  const char *config_path, *path;
  uint64_t seed;
  zt_dtype dtype;
  bool replace, help;
  char *config; /* the bytes of config.json */
  int64_t config_size;
  zt_model *model;
  zt_dtype *dtypes;
  const char **names;
} init;

/* An element depends on seed, name and index alone, so any number of ranks and
 * threads makes the same file. */
static zt_status make_parameter(void *context, int param, int64_t begin,
                                int64_t count, void *values) {
  const init *m = context;
  const zt_param *p = &m->model->params.list[param];
  const uint64_t stream = zt_digest_text(p->name);
  const size_t width = zt_dtype_size(m->dtype);
  enum { BLOCK = 4096 };
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < count; at += BLOCK) {
    double normal[BLOCK];
    float block[BLOCK];
    size_t n = (size_t) (count - at < BLOCK ? count - at : BLOCK);
    if (p->init.std != 0)
      zt_normal_fill(m->seed, stream, (uint64_t) (begin + at), n, normal);
    for (size_t i = 0; i < n; i++)
      block[i] =
          (float) (p->init.std != 0 ? p->init.std * normal[i] : p->init.value);
    zt_from_fp32(m->dtype, block, (char *) values + (size_t) at * width, n);
  }
  return ZT_OK;
}

static zt_status copy_config(void *context, int file, int64_t at, size_t n,
                             void *bytes) {
  const init *m = context;
  (void) file;
  memcpy(bytes, m->config + at, n);
  return ZT_OK;
}

/* Rank 0 reads the file; the others take it from there. */
static zt_status share_config(zt_comm *comm, init *m) {
  zt_status status = ZT_OK;
  size_t size = 0;
  if (comm->rank == 0)
    status =
        zt_read_file(m->config_path, ZT_MOST_CONFIG_JSON, &m->config, &size);
  ZT_TRY(zt_agree(comm, status));
  m->config_size = (int64_t) size;
  ZT_TRY(zt_comm_broadcast(comm, &m->config_size, sizeof m->config_size, 0));
  if (comm->rank != 0)
    m->config = zt_calloc((size_t) m->config_size + 1, 1);
  ZT_TRY(zt_agree(comm, m->config ? ZT_OK : ZT_ERR_MEMORY));
  return zt_comm_broadcast(comm, m->config, (size_t) m->config_size, 0);
}

static zt_status plan(init *m) {
  const size_t size = (size_t) m->config_size;
  json_t *config;
  bool tied = true;
  ZT_TRY(zt_json_parse(m->config, size, m->config_path, &config));
  zt_status status = zt_config_tied(config, m->config_path, &tied);
  json_decref(config);
  ZT_TRY(status);
  ZT_TRY(zt_model_create(m->config, size, m->config_path, tied, 0, &m->model));
  const size_t count = (size_t) m->model->params.count;
  m->dtypes = zt_calloc(count, sizeof *m->dtypes);
  m->names = zt_calloc(count, sizeof *m->names);
  if (!m->dtypes || !m->names)
    return ZT_ERR_MEMORY;
  for (size_t p = 0; p < count; p++) {
    m->dtypes[p] = m->dtype;
    m->names[p] = m->model->params.list[p].name;
  }
  return ZT_OK;
}

static zt_status write_weights(init *m, zt_comm *comm) {
  ZT_TRY(share_config(comm, m));
  ZT_TRY(zt_agree(comm, plan(m)));
  const zt_source_file config = {.name = ZT_CONFIG_JSON,
                                 .size = m->config_size};
  const zt_weights_file file = {.path = m->path,
                                .replace = m->replace,
                                .verb = "init",
                                .spec = {.family = m->model->family->name,
                                         .model_type = m->model->model_type,
                                         .params = &m->model->params,
                                         .dtypes = m->dtypes,
                                         .names = m->names,
                                         .config = &config,
                                         .n_config = 1},
                                .parameter = make_parameter,
                                .config = copy_config,
                                .context = m};
  uint64_t digest;
  zt_transfer_report report;
  ZT_TRY(zt_weights_file_write(&file, comm, &digest, &report));
  zt_weights_file_say(&file, digest, &report);
  return ZT_OK;
}

static zt_status parse_options(init *m, int argc, char **argv) {
  static const struct option options[] = {
      {"seed", required_argument, NULL, 's'},
      {"dtype", required_argument, NULL, 'd'},
      {"force", no_argument, NULL, 'f'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0}};
  for (int option;;) {
    char *end;
    ZT_TRY(zt_next_option(argc, argv, "s:d:fh", options, &option));
    if (option < 0)
      break;
    errno = 0;
    if (option == 's') {
      m->seed = strtoull(optarg, &end, 10);
      if (*optarg < '0' || *optarg > '9' || *end || errno)
        return zt_fail(ZT_ERR_USAGE, "--seed %.40s: not a 64-bit number >= 0",
                       optarg);
    } else if (option == 'd' && !zt_dtype_parse(optarg, &m->dtype)) {
      return zt_fail(ZT_ERR_USAGE, "--dtype %.40s: not fp32, bf16 or fp16",
                     optarg);
    }
    m->replace = m->replace || option == 'f';
    m->help = m->help || option == 'h';
  }
  if (m->help)
    return ZT_OK;
  ZT_TRY(zt_check_operands(argc, 2, 2,
                           "ztconv init [--seed S] CONFIG.json OUT.h5"));
  m->config_path = argv[optind];
  m->path = argv[optind + 1];
  return ZT_OK;
}

zt_status zt_conv_init(zt_program *program, int argc, char **argv) {
  init m = {.seed = 1};
  ZT_TRY(parse_options(&m, argc, argv));
  if (m.help)
    return zt_command_help(program, help_text);
  zt_status status = write_weights(&m, program->comm);
  zt_model_destroy(&m.model);
  free(m.config);
  free(m.dtypes);
  free(m.names);
  return status;
}
