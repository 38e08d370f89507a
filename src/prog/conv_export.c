/* SPDX-License-Identifier: BSD-3-Clause */
/* ztconv export: a weights file or a restart becomes a Hugging Face directory.
 */
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/digest.h"
#include "io/format.h"
#include "io/hfdir.h"
#include "io/restart.h"
#include "prog/config_dtype.h"
#include "prog/conv.h"
#include "prog/export_plan.h"
#include "prog/hf_output.h"
#include "prog/open_source.h"
#include "prog/transfer.h"
#include "train/watch.h"
#include "train/weights.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help_text[] =
    "Usage: ztconv export [OPTION]... SRC HF_DIR\n"
    "Write SRC, a weights file, a restart or a run's directory (its newest\n"
    "restart), as a Hugging Face directory that from_pretrained() loads.\n"
    "\n"
    "  --dtype D           write all tensors as fp32, bf16 or fp16 (default:\n"
    "                      as they are stored)\n"
    "  --max-shard-size N  bytes of tensors in a file (default 5GB)\n"
    "  --force             replace weights that HF_DIR holds\n";

typedef struct exporter {
  const char *path, *directory;
  bool cast, replace, help;
  zt_dtype dtype;
  size_t most;
  zt_source *source;
  zt_model *model;
  int *tensor_of, *param_of;
  zt_export_plan plan;
  zt_hf_output output;       /* rank 0 */
  int *fds;                  /* of the shards, on rank 0 */
  char shard_path[PATH_MAX]; /* of the shard that is open */
  char *stored;    /* a piece in its stored format, where that changes */
  uint64_t digest; /* of what was read */
} exporter;

/* ---- Tensors, by all ranks ---- */

static void convert(zt_dtype from, const char *stored, zt_dtype to, char *bytes,
                    int64_t count) {
  enum { BLOCK = 4096 };
  const int64_t in = (int64_t) zt_dtype_size(from);
  const int64_t out = (int64_t) zt_dtype_size(to);
  for (int64_t i = 0; i < count; i += BLOCK) {
    float block[BLOCK];
    size_t n = (size_t) (count - i < BLOCK ? count - i : BLOCK);
    zt_to_fp32(from, stored + i * in, block, n);
    zt_from_fp32(to, block, bytes + i * out, n);
  }
}

static zt_status fill(void *context, int index, int64_t at, int64_t n,
                      void *bytes) {
  exporter *x = context;
  const zt_safetensors_entry *e = &x->plan.entries[index];
  const zt_source_tensor *t = &x->source->tensors[e->id];
  const int64_t width = (int64_t) zt_dtype_size(e->dtype);
  int64_t begin = at / width, count = n / width;
  void *stored = e->dtype == t->dtype ? bytes : x->stored;
  ZT_TRY(zt_fault_check(ZT_FAULT_EXPORT_READ));
  ZT_TRY(zt_source_read_raw(x->source, e->id, begin, count, stored));
  /* Names of one tensor count once. */
  if (zt_source_root(x->source, e->id) == e->id) {
    const zt_param *p = &x->model->params.list[x->param_of[e->id]];
    x->digest +=
        zt_digest_part("parameters", p, t->dtype, stored, begin, count);
  }
  if (stored != bytes)
    convert(t->dtype, stored, e->dtype, bytes, count);
  return ZT_OK;
}

static zt_status place(void *context, int index, int *file, int64_t *offset) {
  exporter *x = context;
  *file = x->plan.shard_of[index];
  *offset = x->plan.entries[index].at;
  return zt_fault_check(ZT_FAULT_EXPORT_WRITE);
}

static zt_status open_shard(void *context, int file, int *fd,
                            const char **path) {
  exporter *x = context;
  ZT_TRY(
      zt_path(x->shard_path, "%s/%s", x->directory, x->plan.shards[file].name));
  *path = x->shard_path;
  if (x->source->comm->rank != 0)
    return zt_output_join(x->shard_path, fd);
  *fd = x->fds[file];
  return ZT_OK;
}

/* Rank 0's files are made durable by their commit. */
static zt_status close_shard(void *context, int file, int fd) {
  exporter *x = context;
  (void) file;
  if (x->source->comm->rank == 0)
    return ZT_OK;
  zt_status status = zt_sync(fd, x->shard_path);
  close(fd);
  return status;
}

static zt_status write_tensors(exporter *x, zt_transfer_report *report) {
  const zt_transfer transfer = {.comm = x->source->comm,
                                .verb = "export",
                                .count = x->plan.n_entries,
                                .start = x->plan.start,
                                .fill = fill,
                                .place = place,
                                .open = open_shard,
                                .close = close_shard,
                                .context = x};
  return zt_transfer_run(&transfer, report);
}

/* Damage since the file was written is not passed on. */
static zt_status check_digest(exporter *x) {
  zt_comm *comm = x->source->comm;
  ZT_TRY(zt_comm_all_reduce(comm, (int64_t *) &x->digest, 1, ZT_SUM));
  if (!x->source->has_digest || x->digest == x->source->digest)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA,
                 "%s: damaged: digest %016" PRIx64 ", but %016" PRIx64
                 " was recorded",
                 x->path, x->digest, x->source->digest);
}

/* ---- Small files, by rank 0 ---- */

static zt_status write_text(exporter *x, const char *name, const char *bytes,
                            size_t size) {
  int fd;
  ZT_TRY(zt_hf_output_add(&x->output, name, 0, &fd));
  return zt_write_at(fd, name, bytes, size, 0);
}

static zt_status copy_config(exporter *x, int file) {
  enum { PIECE = 1 << 16 };
  char bytes[PIECE];
  const zt_source_file *f = &x->source->config[file];
  int fd;
  ZT_TRY(zt_hf_output_add(&x->output, f->name, 0, &fd));
  for (int64_t at = 0; at < f->size; at += PIECE) {
    size_t n = (size_t) (f->size - at < PIECE ? f->size - at : PIECE);
    ZT_TRY(zt_source_read_config(x->source, file, at, n, bytes));
    ZT_TRY(zt_write_at(fd, f->name, bytes, n, at));
  }
  return ZT_OK;
}

static bool rounds(const exporter *x) {
  for (int i = 0; i < x->plan.n_entries; i++) {
    const zt_safetensors_entry *e = &x->plan.entries[i];
    if (e->dtype != x->source->tensors[e->id].dtype)
      return true;
  }
  return false;
}

static zt_status write_config_json(exporter *x) {
  zt_text text = {0};
  zt_config_set_dtype(x->source->config_json, x->source->config_json_size,
                      x->dtype, &text);
  zt_status status = zt_fail(ZT_ERR_MEMORY, "out of memory (config.json)");
  if (!text.failed)
    status = write_text(x, ZT_CONFIG_JSON, text.data, text.size);
  zt_text_free(&text);
  return status;
}

static zt_status write_configs(exporter *x) {
  /* A restart holds fp32, whatever the model began with. */
  bool names_other_dtype = rounds(x) || zt_restart_of(x->source);
  for (int i = 0; i < x->source->n_config; i++) {
    bool same = strcmp(x->source->config[i].name, ZT_CONFIG_JSON) != 0 ||
                !names_other_dtype;
    ZT_TRY(same ? copy_config(x, i) : write_config_json(x));
  }
  return ZT_OK;
}

static zt_status begin_shards(exporter *x) {
  x->fds = zt_calloc((size_t) x->plan.n_shards, sizeof *x->fds);
  if (!x->fds)
    return ZT_ERR_MEMORY;
  for (int k = 0; k < x->plan.n_shards; k++) {
    const zt_export_shard *shard = &x->plan.shards[k];
    ZT_TRY(zt_hf_output_add(&x->output, shard->name, shard->size, &x->fds[k]));
    ZT_TRY(zt_write_at(x->fds[k], shard->name, shard->head.data,
                       shard->head.size, 0));
  }
  return ZT_OK;
}

static zt_status begin_files(exporter *x) {
  if (x->source->comm->rank != 0)
    return ZT_OK;
  ZT_TRY(zt_hf_output_begin(&x->output, x->directory, x->replace));
  ZT_TRY(write_configs(x));
  ZT_TRY(begin_shards(x));
  if (x->plan.n_shards == 1)
    return ZT_OK;
  zt_text index;
  ZT_TRY(zt_export_plan_index(&x->plan, &index));
  zt_status status = write_text(x, ZT_HF_INDEX, index.data, index.size);
  zt_text_free(&index);
  return status;
}

/* ---- Command ---- */

static zt_status plan(exporter *x) {
  const zt_source *s = x->source;
  ZT_TRY(zt_weights_model(s, 0, &x->model, &x->tensor_of));
  x->param_of = zt_calloc((size_t) s->n_tensors, sizeof *x->param_of);
  x->stored = x->cast ? zt_calloc(2, ZT_BUFFER_BYTES) : NULL;
  if (!x->param_of || (x->cast && !x->stored))
    return ZT_ERR_MEMORY;
  zt_weights_params(s, &x->model->params, x->tensor_of, x->param_of);
  return zt_export_plan_make(s, x->param_of, x->cast, x->dtype,
                             (int64_t) x->most, &x->plan);
}

static zt_status write_all(exporter *x, zt_transfer_report *report) {
  zt_comm *comm = x->source->comm;
  ZT_TRY(zt_agree(comm, plan(x)));
  zt_watch_signals(); /* one that comes now leaves nothing behind */
  ZT_TRY(zt_agree(comm, begin_files(x)));
  ZT_TRY(zt_agree(comm, write_tensors(x, report)));
  ZT_TRY(check_digest(x));
  zt_status status = ZT_OK;
  if (comm->rank == 0)
    status = zt_hf_output_commit(&x->output);
  ZT_TRY(zt_agree(comm, status));
  return zt_transfer_sum(comm, report);
}

static void say(const exporter *x, const zt_transfer_report *report) {
  char size[32], rate[32], memory[32], time[32];
  zt_info("%s: %d tensors in %d file%s, %s in %s (%s/s), peak private memory "
          "%s",
          x->directory, x->plan.n_entries, x->plan.n_shards,
          x->plan.n_shards == 1 ? "" : "s",
          zt_human_bytes((double) report->bytes, size),
          zt_human_time(report->seconds, time),
          zt_human_bytes((double) report->bytes / report->seconds, rate),
          zt_human_bytes((double) report->memory, memory));
  if (!rounds(x))
    zt_info("digest %016" PRIx64, x->digest);
}

static zt_status parse_options(exporter *x, int argc, char **argv) {
  static const struct option options[] = {
      {"dtype", required_argument, NULL, 'd'},
      {"max-shard-size", required_argument, NULL, 'm'},
      {"force", no_argument, NULL, 'f'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0}};
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "d:m:fh", options, &option));
    if (option < 0)
      break;
    if (option == 'd' && !zt_dtype_parse(optarg, &x->dtype))
      return zt_fail(ZT_ERR_USAGE, "--dtype %.40s: not fp32, bf16 or fp16",
                     optarg);
    if (option == 'm' && (!zt_parse_bytes(optarg, &x->most) || x->most == 0))
      return zt_fail(ZT_ERR_USAGE,
                     "--max-shard-size %.40s: not a size such as 5GB", optarg);
    x->cast = x->cast || option == 'd';
    x->replace = x->replace || option == 'f';
    x->help = x->help || option == 'h';
  }
  if (x->help)
    return ZT_OK;
  ZT_TRY(zt_check_operands(argc, 2, 2, "ztconv export SRC HF_DIR"));
  x->path = argv[optind];
  x->directory = argv[optind + 1];
  return ZT_OK;
}

zt_status zt_conv_export(zt_program *program, int argc, char **argv) {
  exporter x = {.most = 5000000000};
  zt_transfer_report report = {0};
  ZT_TRY(parse_options(&x, argc, argv));
  if (x.help)
    return zt_command_help(program, help_text);
  ZT_TRY(zt_open_source(x.path, program->comm, &x.source));
  zt_status status = write_all(&x, &report);
  if (status == ZT_OK)
    say(&x, &report);
  zt_hf_output_discard(&x.output);
  zt_export_plan_free(&x.plan);
  zt_model_destroy(&x.model);
  zt_source_close(&x.source);
  free(x.tensor_of);
  free(x.param_of);
  free(x.fds);
  free(x.stored);
  return status;
}
