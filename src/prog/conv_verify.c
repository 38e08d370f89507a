/* SPDX-License-Identifier: BSD-3-Clause */
/* ztconv verify: whether files and restarts are what was written. */
#include "base/log.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/restart.h"
#include "io/tokens.h"
#include "prog/conv.h"
#include "prog/open_source.h"
#include "report/runstate.h"
#include "train/weights.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char help_text[] =
    "Usage: ztconv verify [--deep] PATH...\n"
    "Say whether weights files, token files, restarts, all restarts of a "
    "run's\n"
    "directory and Hugging Face directories are intact: formats, layout, and "
    "a\n"
    "restart's seal, manifest, headers and checksum tables.  One line a PATH;\n"
    "what is damaged is named on stderr, with file, chunk and parameter.\n"
    "The exit code is that of the first one that is not intact.\n"
    "\n"
    "  --deep  read all data too: every checksum and the digest; the ranks\n"
    "          share the work\n";

typedef struct verification {
  zt_program *program;
  bool deep;
  int exit_code; /* of the first failure */
} verification;

/* A result, from rank 0. */
static void say(const verification *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void say(const verification *v, const char *format, ...) {
  va_list args;
  if (v->program->comm->rank != 0)
    return;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  printf(v->deep ? "\n" : "; data not read (--deep does)\n");
  fflush(stdout);
}

/* ---- Kinds ---- */

static zt_status verify_tensors(const verification *v, const char *path,
                                const char *kind, zt_source *source) {
  zt_model *model = NULL;
  int *tensor_of = NULL;
  uint64_t digest = 0;
  ZT_TRY(
      zt_agree(source->comm, zt_weights_model(source, 0, &model, &tensor_of)));
  zt_status status = ZT_OK;
  if (v->deep)
    status = zt_digest_source(source, &model->params, tensor_of, &digest);
  if (status == ZT_OK && v->deep && source->has_digest &&
      digest != source->digest)
    status = zt_fail(ZT_ERR_DATA,
                     "%s: damaged: digest %016" PRIx64 ", but %016" PRIx64
                     " was recorded",
                     path, digest, source->digest);
  if (status == ZT_OK && v->deep)
    say(v, "%s: %s of %d parameters: intact, digest %016" PRIx64 "%s", path,
        kind, model->params.count, digest,
        source->has_digest ? "" : " (none is recorded)");
  else if (status == ZT_OK)
    say(v, "%s: %s of %d parameters: layout intact", path, kind,
        model->params.count);
  zt_model_destroy(&model);
  free(tensor_of);
  return status;
}

static zt_status verify_source(const verification *v, const char *path,
                               const char *kind) {
  zt_source *source;
  ZT_TRY(zt_open_source(path, v->program->comm, &source));
  zt_status status = verify_tensors(v, path, kind, source);
  zt_source_close(&source);
  return status;
}

/* By rank 0: its digest runs over the bytes in their order. */
static zt_status read_tokens(const verification *v, const char *path) {
  zt_tokens *tokens;
  ZT_TRY(zt_tokens_open(path, &tokens));
  zt_status status = v->deep ? zt_tokens_verify(tokens) : ZT_OK;
  const zt_tokens_info *info = zt_tokens_about(tokens);
  if (status == ZT_OK && v->deep)
    say(v, "%s: tokens, %" PRId64 " documents: intact, digest %016" PRIx64,
        path, info->documents, info->digest);
  else if (status == ZT_OK)
    say(v, "%s: tokens, %" PRId64 " documents: layout intact", path,
        info->documents);
  zt_tokens_close(&tokens);
  return status;
}

static zt_status verify_tokens(const verification *v, const char *path) {
  zt_comm *comm = v->program->comm;
  return zt_agree(comm, comm->rank == 0 ? read_tokens(v, path) : ZT_OK);
}

static zt_status verify_restart(const verification *v, const char *path) {
  zt_restart *restart;
  ZT_TRY(zt_restart_open(path, v->program->comm, &restart, NULL));
  zt_status status = v->deep ? zt_restart_verify(restart) : ZT_OK;
  if (status == ZT_OK && v->deep)
    say(v, "%s: restart of step %" PRId64 ": intact, digest %016" PRIx64, path,
        restart->step, restart->digest);
  else if (status == ZT_OK)
    say(v,
        "%s: restart of step %" PRId64
        ": seal, manifest, headers and checksum tables intact",
        path, restart->step);
  zt_restart_close(&restart);
  return status;
}

/* ---- One path after the other ---- */

/* A failure is said and kept; the next path is looked at all the same. */
static void note(verification *v, zt_status status) {
  if (status == ZT_OK)
    return;
  if (v->program->comm->rank == 0)
    zt_error(zt_last_error());
  if (v->exit_code == 0)
    v->exit_code = zt_status_exit_code(status);
}

static zt_status check_state(const char *path) {
  zt_runstate state;
  zt_status status = zt_runstate_read(path, &state);
  if (status == ZT_OK)
    zt_runstate_free(&state);
  return status == ZT_ERR_NOINPUT ? ZT_OK : status;
}

static zt_status verify_run(verification *v, const char *path) {
  char restart[PATH_MAX], dir[PATH_MAX];
  zt_comm *comm = v->program->comm;
  zt_restart_list list;
  ZT_TRY(zt_agree(comm, comm->rank == 0 ? check_state(path) : ZT_OK));
  ZT_TRY(zt_path(dir, "%s/restart", path));
  ZT_TRY(zt_restart_find(dir, comm, &list));
  if (list.count == 0 && comm->rank == 0)
    printf("%s: a run without restarts\n", path);
  for (int i = 0; i < list.count; i++) {
    zt_status status = zt_path(restart, "%s/%s", dir, list.names[i]);
    note(v, status == ZT_OK ? verify_restart(v, restart) : status);
  }
  zt_restart_list_free(&list);
  return ZT_OK;
}

static zt_status verify_path(verification *v, const char *path) {
  zt_path_kind kind;
  ZT_TRY(zt_find_kind(path, v->program->comm, &kind));
  switch (kind) {
  case ZT_PATH_TOKENS:
    return verify_tokens(v, path);
  case ZT_PATH_RESTART:
    return verify_restart(v, path);
  case ZT_PATH_RUN:
    return verify_run(v, path);
  case ZT_PATH_HF:
    return verify_source(v, path, "Hugging Face directory");
  default:
    return verify_source(v, path, "weights");
  }
}

zt_status zt_conv_verify(zt_program *program, int argc, char **argv) {
  static const struct option options[] = {{"deep", no_argument, NULL, 'd'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  verification v = {.program = program};
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "dh", options, &option));
    if (option < 0)
      break;
    if (option == 'h')
      return zt_command_help(program, help_text);
    v.deep = true;
  }
  ZT_TRY(zt_check_operands(argc, 1, INT_MAX, "ztconv verify [--deep] PATH..."));
  for (int i = optind; i < argc; i++)
    note(&v, verify_path(&v, argv[i]));
  program->exit_code = v.exit_code;
  return ZT_OK;
}
