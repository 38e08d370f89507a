/* SPDX-License-Identifier: BSD-3-Clause */
/* The double of NCCL.  Each rank is a process of its own, made here. */
#include "emu.h"
#include "emu_cases.h"
#include "unit.h"

#include <cuda_runtime_api.h>
#include <glob.h>
#include <nccl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 5000 };

static const char *program;
static int rank, ranks;
static ncclUniqueId id;
static ncclComm_t comm;
static cudaStream_t stream;

/* In a child: no libcheck, which would go on with the other tests. */
#define must(condition)                                                        \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "rank %d of %d, line %d: %s (%s)\n", rank, ranks,        \
              __LINE__, #condition, emu_last_report());                        \
      _exit(1);                                                                \
    }                                                                          \
  } while (0)

static ncclResult_t settled(void) {
  ncclResult_t result;
  do
    must(!ncclCommGetAsyncError(comm, &result));
  while (result == ncclInProgress);
  return result;
}

static void start(int device) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  alarm(30);
  must(!cudaSetDevice(device));
  must(!cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  must(ncclCommInitRankConfig(&comm, ranks, id, rank, &config) ==
       ncclInProgress);
}

static void finish(void) {
  ncclResult_t result = ncclCommFinalize(comm);
  must(!result || result == ncclInProgress);
  must(!settled());
  must(!ncclCommDestroy(comm));
  must(emu_take_reports() == 0);
}

/* Those who abort leave their files behind. */
static void remove_files(void) {
  char pattern[512];
  glob_t found;
  const char *folder = getenv("CUDAEMU_DIR");
  folder = folder ? folder : getenv("ZT_BUILD");
  snprintf(pattern, sizeof pattern, "%s/zt-nccl.%s*", folder ? folder : "/tmp",
           id.internal);
  if (glob(pattern, 0, NULL, &found) == 0)
    for (size_t i = 0; i < found.gl_pathc; i++)
      remove(found.gl_pathv[i]);
  globfree(&found);
}

/** Runs `body` as so many ranks.  \return the ranks that failed, as bits. */
static int run_ranks(int n, void (*body)(int), int argument) {
  int failed = 0;
  pid_t children[8];
  ranks = n;
  must(!ncclGetUniqueId(&id));
  for (rank = 0; rank < n; rank++) {
    children[rank] = fork();
    if (children[rank] == 0) {
      body(argument);
      _exit(0);
    }
  }
  for (int r = 0; r < n; r++) {
    int status;
    waitpid(children[r], &status, 0);
    failed |= status ? 1 << r : 0;
  }
  remove_files();
  return failed;
}

static float *device_floats(int n, float first, float step) {
  float *p, *host = malloc((size_t) n * sizeof *host);
  for (int i = 0; i < n; i++)
    host[i] = first + step * (float) i;
  must(!cudaMalloc((void **) &p, (size_t) n * sizeof *p));
  must(!cudaMemcpyAsync(p, host, (size_t) n * sizeof *p, cudaMemcpyHostToDevice,
                        stream));
  must(!cudaStreamSynchronize(stream));
  free(host);
  return p;
}

/* p[i] = first + step * i */
static void must_be(const float *p, int n, float first, float step) {
  float *host = malloc((size_t) n * sizeof *host);
  must(!cudaMemcpyAsync(host, p, (size_t) n * sizeof *p, cudaMemcpyDeviceToHost,
                        stream));
  must(!cudaStreamSynchronize(stream));
  for (int i = 0; i < n; i++)
    must(host[i] == first + step * (float) i);
  free(host);
}

/* ---- Operations ---- */

static void called(ncclResult_t result) {
  must(result == ncclSuccess || result == ncclInProgress);
  must(settled() == ncclSuccess);
}

static void all_operations(int schedule) {
  emu_configure((unsigned) schedule, (emu_schedule) schedule, EMU_ORDER_FIFO);
  start(rank);
  must(settled() == ncclSuccess);
  int next = (rank + 1) % ranks, before = (rank + ranks - 1) % ranks;
  float sum = (float) (ranks * (ranks - 1) / 2);
  float *full = device_floats(N * ranks, (float) rank, 1);
  float *own = device_floats(N, (float) (10 * rank), 0);
  for (int round = 0; round < 3; round++) {
    called(ncclAllGather(own, full, N, ncclFloat, comm, stream));
    for (int r = 0; r < ranks; r++)
      must_be(full + r * N, N, (float) (10 * r), 0);
    /* In place: the part of this rank is where it stands. */
    called(ncclAllGather(full + rank * N, full, N, ncclFloat, comm, stream));
    must_be(full + before * N, N, (float) (10 * before), 0);
    called(ncclAllReduce(own, full, N, ncclFloat, ncclSum, comm, stream));
    must_be(full, N, 10 * sum, 0);
    called(ncclReduceScatter(full, full + rank * N, N, ncclFloat, ncclMax, comm,
                             stream));
    called(ncclBroadcast(own, full, N, ncclFloat, ranks - 1, comm, stream));
    must_be(full, N, (float) (10 * (ranks - 1)), 0);
    called(ncclReduce(own, full, N, ncclFloat, ncclAvg, 0, comm, stream));
    if (rank == 0)
      must_be(full, N, 10 * sum / (float) ranks, 0);
    must(!ncclGroupStart());
    must(!ncclSend(own, N, ncclFloat, next, comm, stream));
    must(!ncclRecv(full, N, ncclFloat, before, comm, stream));
    called(ncclGroupEnd());
    must_be(full, N, (float) (10 * before), 0);
  }
  must(ranks == 1 || emu_sent_to(next) > 3 * N * sizeof(float));
  must(emu_count("ncclAllGather").launches == 6);
  finish();
}

START_TEST(operations) {
  static const int counts[] = {1, 2, 3};
  ck_assert_int_eq(run_ranks(counts[_i % 3], all_operations, _i / 3), 0);
}
END_TEST

/* Messages between two ranks match in the order of the calls, also where one
 * comes while the receiver looks. */
static void many_messages(int unused) {
  enum { ROUNDS = 300, MESSAGES = 3 };
  (void) unused;
  start(rank);
  must(settled() == ncclSuccess);
  float *parts[MESSAGES];
  for (int i = 0; i < MESSAGES; i++)
    parts[i] = device_floats(N, rank == 0 ? (float) i : -1, 0);
  for (int round = 0; round < ROUNDS; round++) {
    must(!ncclGroupStart());
    for (int i = 0; i < MESSAGES; i++)
      must(!(rank == 0 ? ncclSend(parts[i], N, ncclFloat, 1, comm, stream)
                       : ncclRecv(parts[i], N, ncclFloat, 0, comm, stream)));
    called(ncclGroupEnd());
    for (int i = 0; i < MESSAGES; i++)
      must_be(parts[i], N, (float) i, 0);
  }
  finish();
}

START_TEST(messages_keep_their_order) {
  ck_assert_int_eq(run_ranks(2, many_messages, 0), 0);
}
END_TEST

/* bf16 is rounded at every hop of the ring: 256 + 1 = 256, but 1 + 1 = 2. */
static void rounding(int unused) {
  (void) unused;
  start(rank);
  must(settled() == ncclSuccess);
  uint16_t *p, value = rank == 1 ? 0x4380 : 0x3f80; /* 256, 1, 1 */
  must(!cudaMalloc((void **) &p, 3 * sizeof *p));
  uint16_t host[3] = {value, value, value};
  must(!cudaMemcpyAsync(p, host, sizeof host, cudaMemcpyHostToDevice, stream));
  called(ncclAllReduce(p, p, 3, ncclBfloat16, ncclSum, comm, stream));
  must(!cudaMemcpyAsync(host, p, sizeof host, cudaMemcpyDeviceToHost, stream));
  /* Part 0 starts on rank 1: 256 + 1 + 1; part 1 on rank 2: 1 + 1 + 256. */
  must(host[0] == 0x4380 && host[1] == 0x4381);
  finish();
}

START_TEST(rounding_at_each_hop) {
  ck_assert_int_eq(run_ranks(3, rounding, 0), 0);
}
END_TEST

/* What arrives on one stream is used on another. */
static void order(int bug) {
  cudaStream_t compute;
  cudaEvent_t e;
  start(rank);
  must(settled() == ncclSuccess);
  must(!cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking));
  must(!cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
  float *own = device_floats(N, 1, 0), *full = device_floats(N * ranks, 0, 0);
  float *x = device_floats(N, 0, 0);
  called(ncclAllGather(own, full, N, ncclFloat, comm, stream));
  must(!cudaEventRecord(e, stream));
  if (bug != 1)
    must(!cudaStreamWaitEvent(compute, e, 0));
  must(!emu_axpy(x, full, 1, N, compute));
  must(!cudaEventRecord(e, compute));
  if (bug != 2) /* the window must not be filled again before it is read */
    must(!cudaStreamWaitEvent(stream, e, 0));
  called(ncclAllGather(own, full, N, ncclFloat, comm, stream));
  must(!cudaDeviceSynchronize());
  must(emu_reported("which no event orders") == (bug != 0));
  emu_take_reports();
  finish();
}

START_TEST(missing_events) {
  ck_assert_int_eq(run_ranks(2, order, _i), 0);
}
END_TEST

/* ---- A communicator that is not blocking ---- */

static void too_early(int unused) {
  (void) unused;
  start(rank);
  float *own, *full;
  must(!cudaMalloc((void **) &own, N * sizeof *own));
  must(!cudaMalloc((void **) &full, N * sizeof *own * (size_t) ranks));
  must(ncclAllGather(own, full, N, ncclFloat, comm, stream) ==
       ncclInvalidUsage);
  must(emu_reported("in progress"));
  emu_take_reports();
  must(settled() == ncclSuccess);
  finish();
}

START_TEST(call_in_progress) {
  ck_assert_int_eq(run_ranks(2, too_early, 0), 0);
}
END_TEST

static void same_device(int unused) {
  (void) unused;
  start(rank / 2);
  ncclResult_t result = settled();
  must(result == (ranks == 1 ? ncclSuccess : ncclInvalidUsage));
  must(strstr(ncclGetLastError(comm), "Duplicate GPU") != NULL);
  must(!ncclCommAbort(comm));
}

START_TEST(two_ranks_on_a_device) {
  ck_assert_int_eq(run_ranks(2, same_device, 0), 0);
}
END_TEST

/* ---- Failures ---- */

static void different(int what) {
  start(rank);
  must(settled() == ncclSuccess);
  float *own = device_floats(N, 1, 0), *full = device_floats(N * ranks, 0, 0);
  size_t n = rank ? N / 2 : N;
  if (what == 0)
    ncclAllGather(own, full, n, ncclFloat, comm, stream);
  else if (what == 1 && rank)
    ncclAllReduce(own, own, N, ncclFloat, ncclSum, comm, stream);
  else if (what == 1)
    ncclBroadcast(own, own, N, ncclFloat, 0, comm, stream);
  else if (rank)
    ncclSend(own, n, ncclFloat, 0, comm, stream);
  else
    ncclRecv(own, n, ncclFloat, 1, comm, stream);
  ncclResult_t result = ncclSuccess;
  while (result == ncclSuccess || result == ncclInProgress)
    must(!ncclCommGetAsyncError(comm, &result));
  /* One that sends only sees that the other gives up. */
  must(emu_reported(what == 2 && rank ? "is gone" : "collectives differ"));
  must(cudaStreamQuery(stream) == cudaErrorNotReady);
  must(!ncclCommAbort(comm));
  must(!cudaStreamSynchronize(stream));
  emu_take_reports();
}

START_TEST(mismatch) {
  ck_assert_int_eq(run_ranks(2, different, _i), 0);
}
END_TEST

static void one_dies(int unused) {
  (void) unused;
  start(rank);
  must(settled() == ncclSuccess);
  float *own = device_floats(N, 1, 0), *full = device_floats(N * ranks, 0, 0);
  if (rank == 1)
    _exit(9);
  ncclAllGather(own, full, N, ncclFloat, comm, stream);
  must(settled() == ncclSuccess || emu_reported("is gone"));
  ncclResult_t result = ncclSuccess;
  while (!result)
    must(!ncclCommGetAsyncError(comm, &result));
  must(result == ncclRemoteError);
  must(emu_reported("of a communicator is gone"));
  must(!ncclCommAbort(comm));
  emu_take_reports();
}

START_TEST(dead_rank) {
  ck_assert_int_eq(run_ranks(3, one_dies, 0), 1 << 1);
}
END_TEST

/* Of a peer that is gone a real NCCL may say nothing for long. */
static void one_dies_silently(int unused) {
  (void) unused;
  start(rank);
  must(settled() == ncclSuccess);
  float *own = device_floats(N, 1, 0), *full = device_floats(N * ranks, 0, 0);
  if (rank == 1)
    _exit(0);
  ncclAllGather(own, full, N, ncclFloat, comm, stream);
  for (int i = 0; i < 100; i++) {
    ncclResult_t result;
    must(!ncclCommGetAsyncError(comm, &result));
    must(result == ncclSuccess || result == ncclInProgress);
    usleep(1000);
  }
  must(cudaStreamQuery(stream) == cudaErrorNotReady);
  must(!ncclCommAbort(comm));
}

START_TEST(silent_peer) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) { /* the setting is read when a process starts */
    setenv("CUDAEMU_NCCL", "silent", 1);
    execl(program, program, "silent", (char *) NULL);
    _exit(127);
  }
  waitpid(child, &status, 0);
  ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- Arguments and memory ---- */

static void arguments(int unused) {
  (void) unused;
  float host[8], *p, *q;
  void *handle;
  start(rank);
  must(settled() == ncclSuccess);
  must(!ncclMemAlloc((void **) &p, 64 * sizeof *p));
  must(!ncclMemAlloc((void **) &q, 64 * sizeof *p));
  must(ncclAllReduce(host, p, 8, ncclFloat, ncclSum, comm, stream) ==
       ncclInvalidArgument);
  must(emu_reported("a buffer of the host"));
  must(ncclAllGather(p, q, 64, ncclFloat, comm, stream) == ncclInvalidArgument);
  must(emu_reported("longer than its allocation"));
  must(ncclAllGather(q + 4, q, 8, ncclFloat, comm, stream) ==
       ncclInvalidArgument);
  must(emu_reported("not in place"));
  must(!ncclCommRegister(comm, p, 64 * sizeof *p, &handle));
  must(ncclCommRegister(comm, p, 64 * sizeof *p, &handle));
  must(emu_reported("or registered"));
  must(!ncclMemFree(q));
  must(!ncclMemAlloc((void **) &q, 64 * sizeof *p));
  must(!ncclCommRegister(comm, q, 64 * sizeof *q, &handle));
  must(!ncclMemFree(q));
  must(emu_reported("memory that is registered"));
  must(!ncclCommDeregister(comm, handle));
  must(!ncclCommDeregister(comm, p));
  handle = p;
  emu_take_reports();
  must(ncclCommDeregister(comm, handle));
  must(emu_reported("not registered"));
  emu_take_reports();
  must(!ncclMemFree(p));
  finish();
}

START_TEST(wrong_arguments) {
  ck_assert_int_eq(run_ranks(2, arguments, 0), 0);
}
END_TEST

int main(int argc, char **argv) {
  program = argv[0];
  if (argc > 1)
    return run_ranks(2, one_dies_silently, 0);
  if (!emu_checks())
    return EXIT_FAILURE;
  Suite *s = suite_create("emu_nccl");
  TCase *t = tcase_create("nccl");
  tcase_set_timeout(t, 60);
  tcase_add_loop_test(t, operations, 0, 12);
  tcase_add_test(t, messages_keep_their_order);
  tcase_add_test(t, rounding_at_each_hop);
  tcase_add_loop_test(t, missing_events, 0, 3);
  tcase_add_test(t, call_in_progress);
  tcase_add_test(t, two_ranks_on_a_device);
  tcase_add_loop_test(t, mismatch, 0, 3);
  tcase_add_test(t, dead_rank);
  tcase_add_test(t, silent_peer);
  tcase_add_test(t, wrong_arguments);
  suite_add_tcase(s, t);
  return unit_main(s, CK_NOFORK);
}
