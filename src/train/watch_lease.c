/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/watch_lease.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/ticker.h"
#include "report/runstate.h"
#include "train/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Holders ---- */

/* Process numbers mean something within one boot of one machine, and one
 * container of it. */
static void identify_machine(char machine[128]) {
  char space[64] = "";
  FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
  if (!f || fscanf(f, "%63s", machine) != 1)
    machine[0] = '\0';
  if (f)
    fclose(f);
  if (readlink("/proc/self/ns/pid", space, sizeof space - 1) < 0)
    machine[0] = '\0';
  if (machine[0])
    strcat(machine, space);
}

void zt_holder_write(char text[ZT_HOLDER_SIZE], const char *since, long beat) {
  char host[HOST_NAME_MAX + 1] = "", machine[128] = "";
  const char *job = getenv("SLURM_JOB_ID");
  gethostname(host, sizeof host - 1);
  identify_machine(machine);
  zt_text line = {0};
  zt_text_add(&line, "{\"host\": ");
  zt_text_add_json(&line, host, strlen(host));
  zt_text_add(&line, ", \"pid\": %ld, \"job\": ", (long) getpid());
  zt_text_add_json(&line, job ? job : "", job ? strnlen(job, 64) : 0);
  zt_text_add(&line, ", \"since\": \"%s\", \"machine\": \"%s\", ", since,
              machine);
  zt_text_add(&line, "\"beat\": \"%012ld\"}\n", beat);
  snprintf(text, ZT_HOLDER_SIZE, "%s", line.failed ? "" : line.data);
  zt_text_free(&line);
}

static json_t *parse(const char *text) {
  json_t *object;
  return zt_json_parse(text, strlen(text), "holder", &object) == ZT_OK ? object
                                                                       : NULL;
}

static const char *field(json_t *object, const char *key) {
  const char *value = json_string_value(json_object_get(object, key));
  return value ? value : "";
}

void zt_holder_say(const char *text, char *who, size_t size) {
  json_t *o = parse(text);
  const char *job = field(o, "job");
  if (!o)
    snprintf(who, size, "another process");
  else
    snprintf(who, size, "pid %lld on %.40s%s%.20s, since %.20s,",
             (long long) json_integer_value(json_object_get(o, "pid")),
             field(o, "host"), job[0] ? ", job " : "", job, field(o, "since"));
  for (char *c = who; *c; c++)
    if ((unsigned char) *c < 0x20 || *c == 0x7F)
      *c = '?';
  json_decref(o);
}

bool zt_holder_is_dead(const char *text) {
  char machine[128] = "";
  identify_machine(machine);
  json_t *o = parse(text);
  long long pid = json_integer_value(json_object_get(o, "pid"));
  bool here = machine[0] && !strcmp(machine, field(o, "machine"));
  json_decref(o);
  return here && pid > 0 && kill((pid_t) pid, 0) != 0 && errno == ESRCH;
}

/* ---- The lease ---- */

struct zt_lease {
  char path[PATH_MAX];
  char since[32];
  zt_lease_times times;
  int fd;
  zt_ticker *ticker;
  /* Of its thread alone. */
  long beat;
  bool warned;
};

/* The text of a lease, "" while it is being made.
 * \return false if there is none */
static bool read_lease(const char *path, char text[ZT_HOLDER_SIZE]) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  ssize_t n = fd < 0 ? 0 : read(fd, text, ZT_HOLDER_SIZE - 1);
  text[n > 0 ? n : 0] = '\0';
  if (fd >= 0)
    close(fd);
  return fd >= 0 || errno != ENOENT;
}

static bool write_lease(const zt_lease *l, long beat) {
  char text[ZT_HOLDER_SIZE];
  zt_holder_write(text, l->since, beat);
  ssize_t n = (ssize_t) strlen(text);
  return pwrite(l->fd, text, (size_t) n, 0) == n && fdatasync(l->fd) == 0;
}

/* Whoever renames it away may make a new one.  Somebody else may have done so
 * since we looked: then it is put back. */
static void remove_stale(const zt_lease *l, const char *judged) {
  char aside[PATH_MAX], text[ZT_HOLDER_SIZE];
  if (zt_path(aside, "%s.%ld", l->path, (long) getpid()) != ZT_OK ||
      rename(l->path, aside) != 0)
    return;
  read_lease(aside, text);
  if (strcmp(text, judged) != 0 && link(aside, l->path) != 0)
    zt_note("%s: cannot be put back: %s", l->path, strerror(errno));
  unlink(aside);
}

/* Clocks of several machines do not agree: that a lease is not renewed is seen
 * by watching it.
 * \return ZT_OK: it is stale, or gone; ZT_ERR_CREATE: its holder lives. */
static zt_status watch_lease(const zt_lease *l, char holder[ZT_HOLDER_SIZE]) {
  char now[ZT_HOLDER_SIZE];
  int64_t began = zt_clock_ns();
  if (!read_lease(l->path, holder) || zt_holder_is_dead(holder))
    return ZT_OK;
  zt_info("%s: waiting up to %.0f s to see whether its holder lives", l->path,
          l->times.stale);
  while ((double) (zt_clock_ns() - began) < 1e9 * l->times.stale) {
    zt_sleep(l->times.renew / 10);
    ZT_TRY(zt_watch_pause());
    if (!read_lease(l->path, now))
      return ZT_OK;
    if (strcmp(now, holder) != 0) {
      memcpy(holder, now, sizeof now);
      return zt_fail(ZT_ERR_CREATE, "%s: somebody holds it", l->path);
    }
  }
  return ZT_OK;
}

static zt_status take(zt_lease *l, char holder[ZT_HOLDER_SIZE]) {
  enum { TRIES = 100 };
  for (int i = 0; i < TRIES; i++) {
    l->fd = open(l->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (l->fd >= 0)
      return write_lease(l, 0)
                 ? ZT_OK
                 : zt_fail_errno(ZT_ERR_IO, "%s: cannot write", l->path);
    if (errno != EEXIST)
      break;
    ZT_TRY(watch_lease(l, holder));
    remove_stale(l, holder);
  }
  holder[0] = '\0';
  return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot make it", l->path);
}

/* ---- Renewal ---- */

static bool is_ours(const zt_lease *l) {
  struct stat mine, there;
  return fstat(l->fd, &mine) == 0 && stat(l->path, &there) == 0 &&
         mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

/* Two trainers in one directory would destroy each other's restarts. */
static void give_way(const zt_lease *l) {
  enum { SECONDS = 5 };
  zt_status status = ZT_ERR_CREATE;
  zt_clock_exit_within(SECONDS, zt_status_exit_code(status));
  zt_fail(status,
          "%s: another process has taken it over, since this one did "
          "not renew it in time",
          l->path);
  zt_error(zt_last_error());
  _exit(zt_status_exit_code(status));
}

static void renew(void *argument) {
  zt_lease *l = argument;
  if (!is_ours(l))
    give_way(l);
  if (!write_lease(l, ++l->beat) && !l->warned) {
    l->warned = true;
    zt_warn("%s: cannot renew it: %s", l->path, strerror(errno));
  }
}

/* ---- Taking and giving back ---- */

zt_status zt_lease_take(const char *run_dir, const zt_lease_times *times,
                        char holder[ZT_HOLDER_SIZE], zt_lease **lease) {
  zt_lease *l = zt_calloc(1, sizeof *l);
  holder[0] = '\0';
  if (!l)
    return ZT_ERR_MEMORY;
  l->times = *times;
  l->fd = -1;
  zt_utc_now(l->since);
  zt_status status = zt_path(l->path, "%s/lease", run_dir);
  if (status == ZT_OK)
    status = take(l, holder);
  if (status == ZT_OK)
    status = zt_ticker_start(times->renew, renew, l, &l->ticker);
  if (status == ZT_OK) {
    *lease = l;
    return ZT_OK;
  }
  if (l->fd >= 0) {
    unlink(l->path);
    close(l->fd);
  }
  free(l);
  return status;
}

void zt_lease_release(zt_lease **lease) {
  zt_lease *l = *lease;
  if (!l)
    return;
  zt_ticker_stop(&l->ticker);
  if (is_ours(l))
    unlink(l->path);
  close(l->fd);
  free(l);
  *lease = NULL;
}
