/* SPDX-License-Identifier: BSD-3-Clause */
#include "report/runstate.h"

#include "base/text.h"
#include "report/append.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST_FILE = 65536 };

static const char *const names[ZT_RUN_COUNT] = {
#define X(id, name) name,
    ZT_RUN_LIST(X)
#undef X
};

const char *zt_run_name(zt_run state) {
  return names[state];
}

const char *zt_utc_now(char buffer[32]) {
  time_t now = time(NULL);
  struct tm utc;
  gmtime_r(&now, &utc);
  strftime(buffer, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return buffer;
}

int64_t zt_run_life(void) {
  const char *count = getenv("SLURM_RESTART_COUNT");
  long n = count ? strtol(count, NULL, 10) : 0;
  return n > 0 && n < INT_MAX ? n : 0;
}

static void add_string(zt_text *text, const char *key, const char *value) {
  zt_text_add(text, "\"%s\": ", key);
  if (value && *value)
    zt_text_add_json(text, value, strlen(value));
  else
    zt_text_add(text, "null");
}

static void add_state(zt_text *text, const zt_runstate *s) {
  char now[32];
  zt_text_add(text, "{\"state\": \"%s\", \"code\": %d, ", names[s->state],
              s->code);
  if (s->state == ZT_RUN_FAILED && s->rank >= 0)
    zt_text_add(text, "\"rank\": %d, ", s->rank);
  else
    zt_text_add(text, "\"rank\": null, ");
  add_string(text, "message", s->message);
  zt_text_add(text, ", \"step\": %" PRId64 ", \"steps\": %" PRId64 ", ",
              s->step, s->steps);
  add_string(text, "restart", s->restart);
  zt_text_add(text, ", ");
  add_string(text, "best", s->best);
  zt_text_add(text, ", \"time\": \"%s\", ", zt_utc_now(now));
  add_string(text, "job", getenv("SLURM_JOB_ID"));
  zt_text_add(text, ", \"life\": %" PRId64 "}\n", zt_run_life());
}

static zt_status write_file(const char *path, int flags, const zt_text *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0666);
  if (fd < 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", path);
  zt_status status = ZT_OK;
  if (!zt_write_all(fd, text->data, text->size) ||
      ftruncate(fd, (off_t) text->size) != 0 || fsync(fd) != 0)
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot write", path);
  if (close(fd) != 0 && status == ZT_OK)
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot write", path);
  return status;
}

/* The rename reaches the disk with its directory.  Not every file system knows
 * how; then there is nothing better. */
static void sync_directory(const char *dir) {
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return;
  fsync(fd);
  close(fd);
}

static zt_status put_in_place(const char *draft, const char *path,
                              const char *dir, const zt_text *text) {
  zt_status status = write_file(draft, O_CREAT | O_TRUNC, text);
  if (status == ZT_OK && rename(draft, path) != 0)
    status = zt_fail_errno(ZT_ERR_CREATE, "%s: cannot put it in place", path);
  if (status == ZT_OK) {
    sync_directory(dir);
    return ZT_OK;
  }
  unlink(draft);
  /* A full disk is what runs die of, and just then the old state must not
   * stay: write over it, which needs no room.  Should that be cut short, what
   * is left cannot be read, and that counts as failed. */
  return write_file(path, 0, text) == ZT_OK ? ZT_OK : status;
}

zt_status zt_runstate_write(const char *dir, const zt_runstate *state) {
  char host[HOST_NAME_MAX + 1] = "", path[PATH_MAX], draft[PATH_MAX];
  gethostname(host, sizeof host - 1);
  /* Ranks that die together do not write into each other's draft. */
  int n = snprintf(draft, sizeof draft, "%s/.%s.%.64s.%ld", dir,
                   ZT_RUNSTATE_FILE, host, (long) getpid());
  if (n >= (int) sizeof draft)
    return zt_fail(ZT_ERR_CREATE, "%.100s...: name too long", dir);
  snprintf(path, sizeof path, "%s/%s", dir, ZT_RUNSTATE_FILE);
  zt_text text = {0};
  add_state(&text, state);
  zt_status status = text.failed
                         ? zt_fail(ZT_ERR_MEMORY, "%s: out of memory", path)
                         : put_in_place(draft, path, dir, &text);
  zt_text_free(&text);
  return status;
}

static zt_status wrong(const char *path, const char *key, const char *value) {
  return zt_fail(ZT_ERR_DATA, "%s: \"%s\" cannot be '%.60s'", path, key, value);
}

/* 'd' stands for a digit. */
static bool has_form(const char *text, const char *form) {
  for (; *form; form++, text++)
    if (*form == 'd' ? !isdigit((unsigned char) *text) : *text != *form)
      return false;
  return *text == '\0';
}

static bool is_restart_name(const char *name) {
  return zt_starts_with(name, "step-") && name[5] && strlen(name) < 32 &&
         name[5 + strspn(name + 5, "0123456789")] == '\0';
}

static zt_status read_numbers(json_t *o, const char *path, zt_runstate *s) {
  int64_t code, rank = -1, life;
  ZT_TRY(zt_json_int(o, path, "code", true, 0, 255, &code));
  ZT_TRY(zt_json_int(o, path, "rank", false, 0, INT_MAX, &rank));
  ZT_TRY(zt_json_int(o, path, "life", true, 0, INT_MAX, &life));
  ZT_TRY(zt_json_int(o, path, "step", true, 0, INT64_MAX, &s->step));
  ZT_TRY(zt_json_int(o, path, "steps", true, 0, INT64_MAX, &s->steps));
  s->code = (int) code;
  s->rank = (int) rank;
  s->life = (int) life;
  return ZT_OK;
}

static zt_status read_state(json_t *o, const char *path, zt_runstate *s) {
  const char *word;
  ZT_TRY(zt_json_string(o, path, "state", true, &word));
  ZT_TRY(read_numbers(o, path, s));
  ZT_TRY(zt_json_string(o, path, "message", false, &s->message));
  ZT_TRY(zt_json_string(o, path, "restart", false, &s->restart));
  ZT_TRY(zt_json_string(o, path, "best", false, &s->best));
  ZT_TRY(zt_json_string(o, path, "time", true, &s->time));
  ZT_TRY(zt_json_string(o, path, "job", false, &s->job));
  int state = 0;
  while (state < ZT_RUN_COUNT && strcmp(word, names[state]))
    state++;
  if (state == ZT_RUN_COUNT)
    return wrong(path, "state", word);
  s->state = (zt_run) state;
  if ((s->state == ZT_RUN_FAILED) != (s->code != 0))
    return zt_fail(ZT_ERR_DATA, "%s: \"%s\" does not go with \"code\": %d",
                   path, word, s->code);
  if (s->restart && !is_restart_name(s->restart))
    return wrong(path, "restart", s->restart);
  if (s->best && !is_restart_name(s->best))
    return wrong(path, "best", s->best);
  if (!has_form(s->time, "dddd-dd-ddTdd:dd:ddZ"))
    return wrong(path, "time", s->time);
  return ZT_OK;
}

zt_status zt_runstate_read(const char *dir, zt_runstate *state) {
  char path[PATH_MAX];
  zt_runstate s = {.rank = -1};
  if (snprintf(path, sizeof path, "%s/%s", dir, ZT_RUNSTATE_FILE) >=
      (int) sizeof path)
    return zt_fail(ZT_ERR_NOINPUT, "%.100s...: name too long", dir);
  ZT_TRY(zt_json_read(path, LARGEST_FILE, &s.source));
  zt_status status = read_state(s.source, path, &s);
  if (status != ZT_OK)
    zt_runstate_free(&s);
  else
    *state = s;
  return status;
}

void zt_runstate_free(zt_runstate *state) {
  json_decref(state->source);
  *state = (zt_runstate){.rank = -1};
}
