/* SPDX-License-Identifier: BSD-3-Clause */
/* What saves and loads of a large state cost, beside the raw rates of the same
 * directory in the same run.  restart.sh builds and runs it.
 *   restart_rates DIR MIB-OF-EACH-RANK ROUNDS SAVES */
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/raw_rate.h"
#include "mpi_unit.h"
#include "restart_unit.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { BUFFER = 8 << 20, SMALL_STAGING = 64 << 20 };

static held h;
static int failures;

/* ---- Time ---- */

static double now(void) {
  return 1e-9 * (double) zt_clock_ns();
}

/* Of the slowest rank. */
static double slowest(double seconds) {
  int64_t ns = (int64_t) (1e9 * seconds);
  ck_zt_ok(zt_comm_all_reduce(comm, &ns, 1, ZT_MAX));
  return 1e-9 * (double) ns;
}

static double barrier(void) {
  ck_zt_ok(zt_agree(comm, ZT_OK));
  return now();
}

static void sleep_for(double seconds) {
  struct timespec t = {(time_t) seconds,
                       (long) (1e9 * (seconds - (double) (time_t) seconds))};
  nanosleep(&t, NULL);
}

static void verdict(bool good, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void verdict(bool good, const char *format, ...) {
  va_list args;
  if (!good)
    failures++;
  if (comm->rank != 0)
    return;
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  printf(" %s\n", good ? "ok" : "MISSED");
}

/* ---- What is measured ---- */

static double state_bytes(void) {
  return (double) ZT_STATES * 4 * (double) h.params.numel;
}

/* One copy of this rank's state into memory that has been touched. */
static double copy_seconds(char *to) {
  size_t bytes = (size_t) h.shard.numel * sizeof(float);
  double began = barrier();
  for (int s = 0; s < ZT_STATES; s++)
    memcpy(to + (size_t) s * bytes, h.values[s], bytes);
  return slowest(now() - began);
}

static void raw_seconds(double *write, double *read) {
  static char *buffer;
  zt_raw_file raw;
  double own;
  char dir[PATH_MAX];
  snprintf(dir, sizeof dir, "%s", h.dir);
  if (!buffer)
    buffer = zt_direct_memory(BUFFER);
  ck_zt_ok(zt_raw_begin(&raw, dir, comm->rank,
                        (int64_t) state_bytes() / comm->size, buffer, BUFFER));
  double began = barrier();
  ck_zt_ok(zt_raw_write(&raw, &own));
  *write = slowest(now() - began);
  began = barrier();
  ck_zt_ok(zt_raw_read(&raw, &own));
  *read = slowest(now() - began);
  zt_raw_end(&raw);
}

/* A save while the run does nothing but ask, as it does after each step. */
static zt_restart_end idle_save(int64_t step) {
  zt_restart_end end = {0};
  ck_zt_ok(held_start(&h, step));
  while (!end.committed) {
    int64_t busy = zt_restart_busy(h.writer);
    ck_zt_ok(zt_comm_all_reduce(comm, &busy, 1, ZT_MAX));
    ck_zt_ok(zt_restart_advance(h.writer, busy, &end));
    sleep_for(1e-3);
  }
  zt_writer_wait(h.writer);
  return end;
}

/* A save beside steps of so many seconds, most of them computing.
 * \return share of a step that it cost */
static double stall_share(int64_t step, double step_seconds) {
  zt_restart_end end = {0};
  ck_zt_ok(held_start(&h, step));
  while (!end.committed) {
    int64_t busy;
    sleep_for(step_seconds);
    ck_zt_ok(zt_restart_protect(h.writer, 0, h.shard.numel));
    busy = zt_restart_busy(h.writer);
    ck_zt_ok(zt_comm_all_reduce(comm, &busy, 1, ZT_MAX));
    ck_zt_ok(zt_restart_advance(h.writer, busy, &end));
  }
  zt_writer_wait(h.writer);
  return slowest(end.stall) / step_seconds;
}

/* As a device does whose memory is the host's. */
static float *place(void *context, int state, int64_t at) {
  (void) context;
  return h.values[state] + at;
}

static zt_status put(void *context, int state, int64_t at, int64_t n,
                     const float *values) {
  (void) context;
  (void) n;
  ck_assert_ptr_eq(values, h.values[state] + at);
  return ZT_OK;
}

static double load_seconds(int64_t step) {
  char path[PATH_MAX];
  zt_restart *r;
  ck_zt_ok(zt_path(path, "%s/step-%09" PRId64, h.dir, step));
  double began = barrier();
  ck_zt_ok(zt_restart_open(path, comm, &r, NULL));
  ck_zt_ok(zt_restart_read_shard(
      r, &h.params, &h.shard, &(zt_restart_sink){.place = place, .put = put}));
  zt_restart_close(&r);
  return slowest(now() - began);
}

/* ---- The parts of the benchmark ---- */

static void least(double *best, double value) {
  if (*best == 0 || value < *best)
    *best = value;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

static double median(double *values, int n) {
  qsort(values, (size_t) n, sizeof *values, compare);
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Interleaved, so that the same weather is over all: a save and a load are
 * compared with the raw rates of the same round, and the medians count. */
static double measure_rates(int rounds) {
  double copy = 0, raw_write = 0, raw_read = 0, save = 0, stall = 0, load = 0;
  size_t bytes = (size_t) h.shard.numel * sizeof(float) * ZT_STATES;
  char *to = malloc(bytes);
  memset(to, 1, bytes);
  double *copies = malloc((size_t) rounds * sizeof *copies);
  double *saves = malloc((size_t) rounds * sizeof *saves);
  double *loads = malloc((size_t) rounds * sizeof *loads);
  held_writer(&h, 0, (size_t) 1 << 40);
  zt_writer_wait(h.writer); /* it measures the directory first */
  for (int r = 0; r < rounds; r++) {
    double write, read;
    raw_seconds(&write, &read);
    least(&raw_write, write);
    least(&raw_read, read);
    double own = copy_seconds(to);
    least(&copy, own);
    zt_restart_end end = idle_save(r + 1);
    double took = slowest(end.writing), held_up = slowest(end.stall);
    least(&save, took);
    least(&stall, held_up);
    double loaded = load_seconds(r + 1);
    least(&load, loaded);
    copies[r] = held_up / own;
    saves[r] = write / took;
    loads[r] = read / loaded;
  }
  free(to);
  double copy_share = median(copies, rounds);
  double save_share = median(saves, rounds), load_share = median(loads, rounds);
  free(copies);
  free(saves);
  free(loads);
  double gb = 1e-9 * state_bytes();
  if (comm->rank == 0)
    printf("raw    write %.2f GB/s, read %.2f GB/s\n", gb / raw_write,
           gb / raw_read);
  verdict(copy_share <= 1.1, "stall  %.4f s = %.2f copies (%.4f s)", stall,
          copy_share, copy);
  verdict(save_share >= 0.9, "save   %.2f GB/s = %.0f %% of raw", gb / save,
          100 * save_share);
  verdict(load_share >= 0.9, "load   %.2f GB/s = %.0f %% of raw", gb / load,
          100 * load_share);
  return save;
}

static void measure_small_staging(double save, int rounds) {
  double share = 0;
  held_writer(&h, 0, SMALL_STAGING);
  for (int r = 0; r < rounds; r++)
    least(&share, stall_share(rounds + r + 1, 2 * save + 0.5));
  verdict(share <= 0.01, "64 MiB %.2f %% of a step of %.1f s", 100 * share,
          2 * save + 0.5);
}

static int open_files(void) {
  int n = 0;
  DIR *d = opendir("/proc/self/fd");
  while (d && readdir(d))
    n++;
  if (d)
    closedir(d);
  return n;
}

static void measure_constancy(const char *dir, int saves) {
  size_t memory = 0;
  int files = 0;
  bool same = true;
  held_free(&h);
  held_create(&h, comm, dir, (int64_t) 2 << 20);
  h.retention.keep = 2;
  held_writer(&h, 0, SMALL_STAGING);
  for (int i = 1; i <= saves; i++) {
    idle_save(1000 + i);
    if (i == 5) {
      memory = zt_private_bytes();
      files = open_files();
    }
    same = same && (i <= 5 || open_files() == files);
  }
  double grown = (double) zt_private_bytes() - (double) memory;
  verdict(same && grown < 1 << 20,
          "%d saves: %d open files, private memory %+.0f KiB", saves, files,
          grown / 1024);
}

static struct {
  const char *dir;
  int64_t mib;
  int rounds, saves;
} wish;

START_TEST(rates) {
  held_create(&h, comm, wish.dir, comm->size * (wish.mib << 20) / 12);
  h.retention.keep = 1;
  held_fill(&h, 1);
  if (comm->rank == 0)
    printf("%d rank%s, %" PRId64 " MiB of state each\n", comm->size,
           comm->size > 1 ? "s" : "", wish.mib);
  double save = measure_rates(wish.rounds);
  measure_small_staging(save, 3);
  measure_constancy(wish.dir, wish.saves);
  held_free(&h);
  ck_assert_int_eq(failures, 0);
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("restart rates");
  TCase *all = tcase_create("all");
  tcase_add_test(all, rates);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  if (argc != 5)
    return 64;
  wish.dir = argv[1];
  wish.mib = atoll(argv[2]);
  wish.rounds = atoi(argv[3]);
  wish.saves = atoi(argv[4]);
  setvbuf(stdout, NULL, _IOLBF, 0);
  return mpi_unit_main(argc, argv, make_suite);
}
