/* SPDX-License-Identifier: BSD-3-Clause */
/* A save that ends after any of its changes, with or without one that nobody
 * had made durable: the old restart is there, or the new one. */
#include "base/text.h"
#include "comm/agree.h"
#include "io/restart_writer.h"
#include "mpi_unit.h"
#include "numbers.h"
#include "restart_unit.h"
#include "scratch.h"
#include "shim/shim.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static held h;

static void open_held(const char *name, int per_part) {
  held_create(&h, comm, held_folder(comm, scratch_path(name)), HELD_TINY);
  held_writer(&h, per_part, 1 << 20);
}

static void calm(void) {
  zt_writer_wait(h.writer);
  ck_zt_ok(zt_agree(comm, ZT_OK));
}

/* ---- What was done ---- */

typedef struct change {
  char kind, path[200], to[200]; /* relative to the folder */
  long at, n;
  char *bytes;
} change;

typedef struct history {
  change *list;
  int count;
} history;

/* Where in a path the folder of the restarts begins. */
static void make_relative(char path[200], const char *full) {
  const char *at = strstr(full, "/restart/");
  snprintf(path, 200, "%s", at ? at + 1 : "restart");
}

static void read_history(const char *log, history *all) {
  char path[PATH_MAX], to[PATH_MAX];
  FILE *f = fopen(log, "r");
  ck_assert(f != NULL);
  *all = (history){.list = calloc(4096, sizeof(change))};
  change *c = all->list;
  while (fscanf(f, "%c %4000s %ld %ld", &c->kind, path, &c->at, &c->n) == 4) {
    make_relative(c->path, path);
    if (c->kind == 'R' || c->kind == 'X') {
      ck_assert_int_eq(fscanf(f, " %4000s", to), 1);
      make_relative(c->to, to);
    }
    ck_assert_int_eq(fgetc(f), '\n');
    if (c->kind == 'W') {
      c->bytes = malloc((size_t) c->n);
      ck_assert_uint_eq(fread(c->bytes, 1, (size_t) c->n, f), c->n);
    }
    all->count++;
    c++;
    ck_assert_int_lt(all->count, 4096);
  }
  fclose(f);
}

static void forget_history(history *all) {
  for (int i = 0; i < all->count; i++)
    free(all->list[i].bytes);
  free(all->list);
}

/* What cannot be done because an earlier change is missing is not done. */
static void apply(const char *folder, const change *c) {
  char path[PATH_MAX], to[PATH_MAX];
  int fd;
  ck_zt_ok(zt_path(path, "%s/%s", folder, c->path));
  ck_zt_ok(zt_path(to, "%s/%s", folder, c->to));
  switch (c->kind) {
  case 'M':
    mkdir(path, 0777);
    break;
  case 'R':
    rename(path, to);
    break;
  case 'X':
    renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_EXCHANGE);
    break;
  case 'U':
    unlink(path);
    break;
  case 'D':
    rmdir(path);
    break;
  case 'S':
    break;
  default:
    fd = open(path, c->kind == 'C' ? O_RDWR | O_CREAT : O_RDWR, 0666);
    if (fd < 0)
      break;
    struct stat st;
    if (c->kind == 'T' && fstat(fd, &st) == 0 && st.st_size < c->at)
      ck_assert_int_eq(ftruncate(fd, c->at), 0);
    if (c->kind == 'W')
      ck_assert_int_eq(pwrite(fd, c->bytes, (size_t) c->n, c->at), c->n);
    close(fd);
  }
}

/* Whether the sync `s` makes the change durable: of the file for its content,
 * of the directory for what is in it. */
static bool secures(const change *s, const change *c) {
  char place[200];
  if (s->kind != 'S')
    return false;
  snprintf(place, sizeof place, "%s", s->path);
  size_t length = strlen(place);
  if (length > 1 && !strcmp(place + length - 2, "/."))
    place[length -= 2] = '\0';
  if (c->kind == 'W' || c->kind == 'T')
    return !strcmp(place, c->path);
  const char *name = c->kind == 'R' || c->kind == 'X' ? c->to : c->path;
  const char *slash = strrchr(name, '/');
  return slash && (size_t) (slash - name) == length &&
         !strncmp(place, name, length);
}

static bool is_durable(const history *all, int index, int end) {
  for (int i = index + 1; i < end; i++)
    if (secures(&all->list[i], &all->list[index]))
      return true;
  return false;
}

static void rebuild(const char *folder, const history *all, int first, int end,
                    int missing) {
  for (int i = first; i < end; i++)
    if (i != missing)
      apply(folder, &all->list[i]);
}

/* The folder as a crash after `end` changes left it must load as old or new;
 * as new from `secure` on. */
static int64_t check_crash(const history *all, int old, int end, int missing,
                           int secure) {
  held there = h; /* its writer is not used */
  char folder[PATH_MAX];
  int64_t step;
  snprintf(folder, sizeof folder, "%s", scratch_path("crash"));
  scratch_remove(folder);
  ck_assert_int_eq(mkdir(folder, 0777), 0);
  snprintf(there.dir, sizeof there.dir, "%.3000s/restart", folder);
  mkdir(there.dir, 0777);
  rebuild(folder, all, 0, old, -1);
  rebuild(folder, all, old, end, missing);
  zt_restart_clean(there.dir, NULL); /* as every start does */
  ck_zt_ok(held_load_newest(&there, alone, &step));
  ck_assert_msg(step == 2 || (step == 1 && end <= secure),
                "after %d changes, without %d: step %" PRId64, end, missing,
                step);
  return step;
}

static int find_change(const history *all, char kind, const char *ending) {
  for (int i = all->count - 1; i >= 0; i--)
    if (all->list[i].kind == kind && zt_ends_with(all->list[i].path, ending))
      return i;
  ck_abort_msg("no %c of %s", kind, ending);
  return -1;
}

/* Alone, from what all ranks did. */
static void check_history(const char *log) {
  history all;
  int64_t cases = 0, seen[3] = {0};
  read_history(log, &all);
  int old = find_change(&all, 'R', "step-000000001.tmp") + 1;
  while (all.list[old].kind == 'S')
    old++; /* the sync of the rename */
  int secure = find_change(&all, 'R', "step-000000002.tmp") + 1;
  while (all.list[secure].kind != 'S')
    secure++;
  for (int end = old; end <= all.count; end++) {
    seen[check_crash(&all, old, end, -1, secure)]++;
    cases++;
    for (int i = old; i < end; i++)
      if (all.list[i].kind != 'S' && !is_durable(&all, i, end)) {
        seen[check_crash(&all, old, end, i, secure)]++;
        cases++;
      }
  }
  printf("%d changes, %" PRId64 " crashes: %" PRId64 " old, %" PRId64 " new\n",
         all.count - old, cases, seen[1], seen[2]);
  ck_assert(seen[1] > 20 && seen[2] > 2);
  forget_history(&all);
}

START_TEST(every_prefix) {
  char log[PATH_MAX];
  /* In the short form: one rank with its part, two ranks with one each. */
  if (!numbers_long() && (comm->size > 2 || _i != comm->size - 1))
    return;
  open_held(_i ? "prefix-parts" : "prefix-part", _i);
  calm();
  snprintf(log, sizeof log, "%.4000s.log", h.dir);
  h.retention.keep = 1;
  shim_record(h.dir, log);
  for (int64_t step = 1; step <= 2; step++) {
    held_fill(&h, step);
    ck_zt_ok(held_save(&h, step, NULL));
    calm();
  }
  shim_record(NULL, NULL);
  calm();
  if (comm->rank == 0)
    check_history(log);
  calm();
  held_free(&h);
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("restart crash");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 120);
  tcase_add_loop_test(all, every_prefix, 0, 2);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  scratch_begin("check_restart_crash");
  shim_skip_syncs(true);
  int failed = mpi_unit_main(argc, argv, make_suite);
  scratch_end();
  return failed;
}
