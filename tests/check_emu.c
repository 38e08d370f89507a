/* SPDX-License-Identifier: BSD-3-Clause */
/* The double of CUDA: every detector fires on its bug and is silent without it.
 */
#include "emu.h"
#include "emu_cases.h"
#include "unit.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static cudaStream_t s1, s2;

#define ck_cuda(call)                                                          \
  do {                                                                         \
    cudaError_t ck_e_ = (call);                                                \
    ck_assert_msg(ck_e_ == cudaSuccess, "%s: %s", #call,                       \
                  cudaGetErrorString(ck_e_));                                  \
  } while (0)

/** A report with this text is among those since the last question. */
static void ck_reported(const char *text, const char *where) {
  bool found = emu_reported(text);
  long n = emu_take_reports();
  ck_assert_msg(n > 0, "%s: nothing was reported", where);
  ck_assert_msg(found, "%s: '%s'", where, emu_last_report());
}

static void ck_silent(const char *where) {
  long n = emu_take_reports();
  ck_assert_msg(n == 0, "%s: %ld reports, %s", where, n, emu_last_report());
}

static void setup(void) {
  emu_configure(1, EMU_RANDOM, EMU_ORDER_FIFO);
  cudaGetLastError();
  ck_cuda(cudaStreamCreateWithFlags(&s1, cudaStreamNonBlocking));
  ck_cuda(cudaStreamCreateWithFlags(&s2, cudaStreamNonBlocking));
}

static void teardown(void) {
  ck_cuda(cudaStreamDestroy(s1));
  ck_cuda(cudaStreamDestroy(s2));
  ck_silent("at the end");
}

static void *device(size_t bytes) {
  void *p = NULL;
  ck_cuda(cudaMalloc(&p, bytes));
  return p;
}

/* n floats 1, 2, 3, ... */
static float *device_floats(int n) {
  float *p = device((size_t) n * sizeof *p);
  float *host = malloc((size_t) n * sizeof *host);
  for (int i = 0; i < n; i++)
    host[i] = (float) (i + 1);
  ck_cuda(cudaMemcpyAsync(p, host, (size_t) n * sizeof *p,
                          cudaMemcpyHostToDevice, s1));
  ck_cuda(cudaStreamSynchronize(s1));
  free(host);
  return p;
}

static float value_at(const float *p, int i) {
  float value;
  ck_cuda(
      cudaMemcpyAsync(&value, p + i, sizeof value, cudaMemcpyDeviceToHost, s1));
  ck_cuda(cudaStreamSynchronize(s1));
  return value;
}

/* ---- Kernels ---- */

START_TEST(kernels_with_bugs) {
  emu_case which = (emu_case) (_i / 3);
  emu_configure(7, EMU_RANDOM, (emu_order) (_i % 3));
  const emu_case_info *info = emu_case_get(which);
  int n = info->blocks * info->threads;
  float *in = device_floats(n);
  for (int bug = 0; bug < 2; bug++) {
    float *out = device((size_t) n * sizeof *out);
    ck_cuda(emu_case_launch(which, bug, out, in, s1));
    ck_cuda(cudaStreamSynchronize(s1));
    if (bug)
      ck_reported(info->report, info->name);
    else
      ck_silent(info->name);
    ck_cuda(cudaFree(out));
  }
  ck_cuda(cudaFree(in));
  emu_take_reports();
}
END_TEST

START_TEST(kernel_on_host_memory) {
  float host[64];
  ck_cuda(emu_fill(host, 1, 64, s1));
  ck_cuda(cudaStreamSynchronize(s1));
  ck_reported("touches host memory", "fill");
}
END_TEST

/* All accesses are seen, whatever their form, and counted once. */
START_TEST(every_access_counts) {
  enum { N = 96, BYTES = 32 * N };
  char *from = (char *) device_floats(BYTES / 4);
  char *to = device(BYTES);
  for (int way = 0; way < EMU_WAYS; way++) {
    emu_reset_counts();
    ck_cuda(emu_copy(way, to, from, N, s1));
    ck_cuda(cudaStreamSynchronize(s1));
    emu_counts c = emu_count("copy_");
    ck_assert_uint_eq(c.launches, 1);
    ck_assert_uint_eq(c.threads, 96);
    ck_assert_msg(c.read.accessed == BYTES && c.written.accessed == BYTES,
                  "way %d: %lu read, %lu written", way,
                  (unsigned long) c.read.accessed,
                  (unsigned long) c.written.accessed);
    ck_assert_uint_eq(c.read.distinct, BYTES);
    ck_assert_uint_eq(c.written.distinct, BYTES);
    ck_assert_uint_eq(c.written.block, BYTES);
  }
  ck_silent("copies");
  float *x = (float *) to;
  ck_cuda(emu_copy(EMU_WAYS - 1, x, from, N, s1));
  ck_assert_float_eq(value_at(x, 700), 701);
  ck_cuda(cudaFree(from));
  ck_cuda(cudaFree(to));
}
END_TEST

START_TEST(blocks_count_their_bytes) {
  float *in = device_floats(192), *out = device(192 * sizeof *out);
  emu_reset_counts();
  /* All 192 threads read in[0]: 3 blocks, 1 value. */
  ck_cuda(emu_case_launch(CASE_BLOCK_READERS, false, out, in, s1));
  ck_cuda(cudaStreamSynchronize(s1));
  emu_counts c = emu_count("k");
  ck_assert_uint_eq(c.read.accessed, 192 * 4);
  ck_assert_uint_eq(c.read.block, 3 * 4);
  ck_assert_uint_eq(c.read.distinct, 4);
  ck_assert_uint_eq(c.written.distinct, 192 * 4);
  ck_assert_uint_eq(c.blocks, 3);
  ck_cuda(cudaFree(in));
  ck_cuda(cudaFree(out));
}
END_TEST

START_TEST(warp_primitives) {
  float *in = device_floats(64), *out = device(64 * sizeof *out);
  for (int way = 0; way < 4; way++)
    for (int order = 0; order < 3; order++) {
      emu_configure(3, EMU_RANDOM, (emu_order) order);
      ck_cuda(emu_warp_sum(way, out, in, 64, s1));
      ck_assert_float_eq(value_at(out, 31), way < 3 ? 32 * 33 / 2 : 32 + 0);
      ck_assert_float_eq(value_at(out, 40),
                         way < 3 ? 65 * 32 - 32 * 33 / 2 : 32 - 1);
    }
  ck_silent("warp primitives");
  /* A warp that is not full reads lanes that are not there. */
  ck_cuda(emu_warp_sum(0, out, in, 20, s1));
  ck_cuda(cudaStreamSynchronize(s1));
  ck_reported("takes no part", "20 lanes");
  ck_cuda(cudaFree(in));
  ck_cuda(cudaFree(out));
}
END_TEST

START_TEST(launches_are_checked) {
  float *out = device(64 * sizeof *out);
  ck_assert_int_eq(emu_fill(out, 1, 0, s1), cudaErrorInvalidConfiguration);
  ck_assert_int_eq(emu_large_shared(out, 100 << 10, false, s1),
                   cudaErrorInvalidValue);
  ck_assert_int_eq(emu_large_shared(out, 200 << 10, true, s1),
                   cudaErrorInvalidValue);
  ck_cuda(cudaGetLastError() == cudaErrorInvalidValue ? cudaSuccess
                                                      : cudaErrorUnknown);
  ck_cuda(emu_large_shared(out, 100 << 10, true, s1));
  ck_assert_float_eq(value_at(out, 0), 25 * 1024 - 1);
  ck_cuda(cudaFree(out));
}
END_TEST

/* ---- Tensor cores ---- */

static uint16_t small_number(int i, bool half) {
  int value = i * 7 % 13 - 6; /* exact in both formats */
  union {
    float f;
    uint32_t u;
  } x = {.f = (float) value};
  if (!half)
    return (uint16_t) (x.u >> 16);
  if (value == 0)
    return 0;
  return (uint16_t) ((x.u >> 31) << 15 | ((x.u >> 23 & 255) - 112) << 10 |
                     (x.u >> 13 & 1023));
}

START_TEST(tensor_cores) {
  enum { M_MOST = 64, N_MOST = 96, K = 48 };
  static uint16_t a[M_MOST * K], b[K * N_MOST];
  static float c[M_MOST * N_MOST];
  int shape = _i % 3; /* tiles start at multiples of 32 bytes */
  const int M = shape == 2 ? 8 : M_MOST, N = shape == 1 ? 8 : N_MOST;
  bool half = _i / 3 % 2, ca = _i / 6 % 2, cb = _i / 12 % 2;
  uint16_t *da = device(sizeof a), *db = device(sizeof b);
  float *dc = device(sizeof c);
  for (int i = 0; i < M; i++)
    for (int k = 0; k < K; k++)
      a[ca ? k * M + i : i * K + k] = small_number(i * 5 + k, half);
  for (int k = 0; k < K; k++)
    for (int j = 0; j < N; j++)
      b[cb ? j * K + k : k * N + j] = small_number(k * 3 + j, half);
  ck_cuda(cudaMemcpyAsync(da, a, sizeof a, cudaMemcpyHostToDevice, s1));
  ck_cuda(cudaMemcpyAsync(db, b, sizeof b, cudaMemcpyHostToDevice, s1));
  ck_cuda(emu_fill(dc, 3, M_MOST * N_MOST, s1));
  emu_reset_counts();
  ck_cuda(emu_matmul(dc, da, db, M, N, K, shape, half, ca, cb, s1));
  ck_cuda(cudaMemcpyAsync(c, dc, sizeof c, cudaMemcpyDeviceToHost, s1));
  ck_cuda(cudaStreamSynchronize(s1));
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      int sum = 3;
      for (int k = 0; k < K; k++)
        sum += ((i * 5 + k) * 7 % 13 - 6) * ((k * 3 + j) * 7 % 13 - 6);
      ck_assert_float_eq(c[j * M + i], (float) (2 * sum));
    }
  ck_assert_uint_eq(emu_count("").tensor_macs, (uint64_t) (M * N * K));
  ck_silent("tensor cores");
  ck_cuda(cudaFree(da));
  ck_cuda(cudaFree(db));
  ck_cuda(cudaFree(dc));
}
END_TEST

/* ---- Streams ---- */

static cudaEvent_t new_event(void) {
  cudaEvent_t e;
  ck_cuda(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
  return e;
}

/* y += x on s2 after x = 2 on s1; found in every schedule, because what is
 * missing is the order and not the luck. */
START_TEST(missing_event) {
  emu_configure((unsigned) _i, (emu_schedule) (_i % 4), EMU_ORDER_FIFO);
  float *x = device_floats(64), *y = device_floats(64);
  cudaEvent_t e = new_event();
  for (int bug = 0; bug < 2; bug++) {
    ck_cuda(emu_fill(x, 2, 64, s1));
    ck_cuda(cudaEventRecord(e, s1));
    if (!bug)
      ck_cuda(cudaStreamWaitEvent(s2, e, 0));
    ck_cuda(emu_axpy(y, x, 1, 64, s2));
    ck_cuda(cudaStreamSynchronize(s2));
    ck_cuda(cudaStreamSynchronize(s1));
    if (bug)
      ck_reported("which no event orders", "read after write");
    else
      ck_silent("read after write with an event");
  }
  /* A write after two reads, of which it waits for one. */
  for (int bug = 0; bug < 2; bug++) {
    float *z = device_floats(64);
    ck_cuda(cudaDeviceSynchronize());
    ck_cuda(emu_axpy(y, x, 1, 64, s1));
    ck_cuda(cudaEventRecord(e, s1));
    ck_cuda(emu_axpy(z, x, 1, 64, s2));
    if (!bug)
      ck_cuda(cudaStreamWaitEvent(s2, e, 0));
    ck_cuda(emu_fill(x, 3, 64, s2));
    ck_cuda(cudaDeviceSynchronize());
    if (bug)
      ck_reported("which no event orders", "write after reads");
    else
      ck_silent("write after reads with an event");
    ck_cuda(cudaFree(z));
  }
  ck_cuda(cudaEventDestroy(e));
  ck_cuda(cudaFree(x));
  ck_cuda(cudaFree(y));
}
END_TEST

/* What the host has seen to be done is ordered before what it queues next. */
START_TEST(questions_order) {
  float *x = device_floats(64), *y = device_floats(64);
  cudaEvent_t e = new_event(), never = new_event();
  emu_configure(5, (emu_schedule) _i, EMU_ORDER_FIFO);
  ck_cuda(emu_fill(x, 2, 64, s1));
  while (cudaStreamQuery(s1) == cudaErrorNotReady)
    ;
  ck_cuda(emu_axpy(y, x, 1, 64, s2));
  ck_cuda(cudaEventRecord(e, s2));
  while (cudaEventQuery(e) == cudaErrorNotReady)
    ;
  ck_cuda(emu_fill(y, 1, 64, s1));
  ck_cuda(cudaEventRecord(e, s1));
  ck_cuda(cudaEventSynchronize(e));
  ck_cuda(emu_axpy(x, y, 1, 64, s2));
  ck_cuda(cudaStreamSynchronize(s2));
  ck_assert_float_eq(value_at(x, 9), 3);
  ck_silent("questions");
  ck_cuda(cudaStreamWaitEvent(s1, never, 0));
  ck_reported("never recorded", "wait");
  ck_cuda(cudaEventDestroy(e));
  ck_cuda(cudaEventDestroy(never));
  ck_cuda(cudaFree(x));
  ck_cuda(cudaFree(y));
}
END_TEST

START_TEST(freed_memory) {
  float *x = device_floats(64), *y = device_floats(64), *p = NULL;
  ck_cuda(cudaFree(x));
  ck_cuda(emu_axpy(y, x, 1, 64, s1));
  ck_cuda(cudaStreamSynchronize(s1));
  ck_reported("freed", "use after cudaFree");
  ck_cuda(cudaMallocAsync((void **) &p, 256, s1));
  ck_cuda(emu_fill(p, 1, 64, s1));
  ck_cuda(cudaFreeAsync(p, s1));
  ck_cuda(cudaStreamSynchronize(s1));
  ck_silent("all on one stream");
  ck_cuda(cudaMallocAsync((void **) &p, 256, s1));
  ck_cuda(emu_fill(p, 1, 64, s1));
  ck_cuda(emu_axpy(y, p, 1, 64, s2));
  ck_cuda(cudaFreeAsync(p, s1));
  ck_cuda(cudaDeviceSynchronize());
  ck_assert_int_gt(emu_take_reports(), 0);
  ck_assert_int_eq(cudaFree(x), cudaErrorInvalidValue);
  ck_reported("not allocated", "second cudaFree");
  ck_cuda(cudaFree(y));
}
END_TEST

START_TEST(destroyed_stream) {
  float *x = device_floats(64);
  cudaStream_t s;
  ck_cuda(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  ck_cuda(cudaStreamDestroy(s));
  ck_cuda(emu_fill(x, 1, 64, s));
  ck_cuda(cudaDeviceSynchronize());
  ck_reported("destroyed", "launch");
  ck_cuda(cudaFree(x));
}
END_TEST

/* ---- Host memory ---- */

START_TEST(host_and_device) {
  emu_watch_host();
  volatile float *x = device_floats(64);
  float value = x[3];
  (void) value;
  ck_reported("the host touches device memory", "read");
  float host[4];
  ck_assert_int_eq(cudaMemcpyAsync(host, (float *) x, sizeof host,
                                   cudaMemcpyHostToDevice, s1),
                   cudaErrorInvalidValue);
  ck_reported("kind of the copy", "direction");
  ck_assert_int_eq(cudaMemsetAsync(host, 0, sizeof host, s1),
                   cudaErrorInvalidValue);
  ck_reported("memory of the host", "memset");
  cudaGetLastError();
  ck_cuda(cudaFree((float *) x));
}
END_TEST

/* Pinned memory belongs to the copy until the host has waited. */
START_TEST(pinned_memory) {
  enum { N = 3000 };
  float *x = device_floats(N), *y = device_floats(N), *host;
  emu_configure((unsigned) _i, (emu_schedule) _i, EMU_ORDER_FIFO);
  ck_cuda(cudaMallocHost((void **) &host, N * sizeof *host));
  for (int bug = 0; bug < 2; bug++) {
    ck_cuda(
        cudaMemcpyAsync(host, x, N * sizeof *host, cudaMemcpyDeviceToHost, s1));
    if (!bug)
      ck_cuda(cudaStreamSynchronize(s1));
    float early = ((volatile float *) host)[N - 1];
    ck_cuda(cudaStreamSynchronize(s1));
    if (bug) {
      ck_reported("before the copy into it is done", "read");
    } else {
      ck_silent("read after the wait");
      ck_assert_float_eq(early, N);
    }
  }
  for (int bug = 0; bug < 2; bug++) {
    ck_cuda(
        cudaMemcpyAsync(y, host, N * sizeof *host, cudaMemcpyHostToDevice, s1));
    float same = ((volatile float *) host)[0]; /* reading is allowed */
    ck_assert_float_eq(same, 1);
    if (!bug)
      ck_cuda(cudaStreamSynchronize(s1));
    ((volatile float *) host)[7] = 0;
    ck_cuda(cudaStreamSynchronize(s1));
    ((volatile float *) host)[7] = 8;
    if (bug)
      ck_reported("before the copy from it is done", "write");
    else
      ck_silent("write after the wait");
  }
  ck_cuda(cudaFreeHost(host));
  ck_cuda(cudaFree(x));
  ck_cuda(cudaFree(y));
}
END_TEST

/* Not pinned: the call takes what it needs, or waits. */
START_TEST(pageable_memory) {
  float *x = device_floats(64), host[64];
  emu_configure(1, EMU_LATE, EMU_ORDER_FIFO);
  emu_reset_counts();
  for (int i = 0; i < 64; i++)
    host[i] = 5;
  ck_cuda(cudaMemcpyAsync(x, host, sizeof host, cudaMemcpyHostToDevice, s1));
  host[0] = 6;
  ck_cuda(cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, s1));
  ck_assert_float_eq(host[0], 5);
  ck_assert_uint_eq(emu_count("copy pageable").launches, 2);
  ck_assert_uint_eq(emu_count("copy HtoD").written.accessed, sizeof host);
  ck_cuda(cudaFree(x));
}
END_TEST

/* ---- Devices ---- */

START_TEST(devices) {
  struct cudaDeviceProp p;
  size_t free_bytes, total;
  int n = 0;
  ck_cuda(cudaGetDeviceCount(&n));
  ck_assert_int_eq(n, 8);
  ck_assert_int_eq(cudaSetDevice(8), cudaErrorInvalidDevice);
  ck_cuda(cudaSetDevice(3));
  ck_cuda(cudaGetDeviceProperties(&p, 3));
  ck_assert_int_eq(p.warpSize, 32);
  ck_assert_str_eq(p.name, "CUDA double 3");
  ck_cuda(cudaMemGetInfo(&free_bytes, &total));
  ck_assert_uint_eq(free_bytes, total);
  void *x = device(1 << 20), *y;
  ck_cuda(cudaMemGetInfo(&free_bytes, &total));
  ck_assert_uint_ge(total - free_bytes, 1 << 20);
  ck_assert_int_eq(cudaMalloc(&y, total), cudaErrorMemoryAllocation);
  ck_assert_ptr_null(y);
  ck_assert_int_eq(cudaGetLastError(), cudaErrorMemoryAllocation);
  ck_assert_int_eq(cudaGetLastError(), cudaSuccess);
  ck_cuda(emu_fill(x, 0, 1, s1)); /* a stream of device 0 */
  ck_cuda(cudaStreamSynchronize(s1));
  ck_reported("stream of device 0", "launch");
  ck_cuda(cudaFree(x));
  ck_cuda(cudaSetDevice(0));
}
END_TEST

/* ---- The environment ---- */

static const char *program;

/* This program again, with a setting.  \return its exit code. */
static int again(const char *what, const char *variable, const char *value) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    setenv(variable, value, 1);
    execl(program, program, what, (char *) NULL);
    _exit(127);
  }
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* In that process: 0 if all is as it should be. */
static int body(const char *what) {
  void *p[3] = {NULL, NULL, NULL};
  int n = -7;
  if (!strcmp(what, "count")) {
    cudaError_t error = cudaGetDeviceCount(&n);
    return error == cudaSuccess ? n : error == cudaErrorNoDevice ? 100 : 101;
  }
  if (!strcmp(what, "untouched"))
    return cudaGetDeviceCount(&n) == cudaErrorInsufficientDriver && n == -7 &&
                   cudaMalloc(p, 1) == cudaErrorInsufficientDriver
               ? 0
               : 1;
  if (!strcmp(what, "report")) {
    cudaFree(&n);
    return 0;
  }
  if (!strcmp(what, "small"))
    return !cudaMalloc(p, 1 << 20) &&
                   cudaMalloc(p, 1 << 20) == cudaErrorMemoryAllocation
               ? 0
               : 1;
  for (int i = 0; i < 3; i++) /* which one fails: */
    if (cudaMalloc(&p[i], 256))
      return 10 + i;
  return emu_fill(p[0], 1, 64, NULL) || cudaDeviceSynchronize() ? 20 : 0;
}

static atomic_bool other_ends;

static void *run_kernels(void *p) {
  float *y = p;
  cudaError_t e = cudaSuccess;
  for (int i = 0; i < 300 && e == cudaSuccess; i++) {
    e = emu_axpy(y, y + 2048, 1, 2048, s1);
    e = e ? e : cudaStreamSynchronize(s1);
  }
  other_ends = true;
  return e == cudaSuccess ? p : NULL;
}

/* What the host does beside a kernel, in another thread, is not the kernel's. */
START_TEST(two_threads) {
  pthread_t other;
  void *result;
  float *y = device_floats(4096), *x = device_floats(32);
  ck_assert_int_eq(pthread_create(&other, NULL, run_kernels, y), 0);
  while (!other_ends)
    ck_cuda(emu_fill(x, 1, 32, s2));
  ck_assert_int_eq(pthread_join(other, &result), 0);
  ck_assert_ptr_nonnull(result);
  ck_cuda(cudaStreamSynchronize(s2));
  ck_silent("two threads");
}
END_TEST

START_TEST(environment) {
  char path[512];
  const char *folder = getenv("ZT_BUILD");
  ck_assert_int_eq(again("count", "CUDAEMU_DEVICES", "3"), 3);
  ck_assert_int_eq(again("count", "CUDAEMU_DEVICES", "0"), 100);
  ck_assert_int_eq(again("untouched", "CUDAEMU_DEVICES", "-1"), 0);
  ck_assert_int_eq(again("report", "CUDAEMU_SEED", "2"), 86);
  ck_assert_int_eq(again("small", "CUDAEMU_MEMORY", "2000000"), 0);
  ck_assert_int_eq(again("three", "CUDAEMU_FAIL", "cudaMalloc:2"), 11);
  ck_assert_int_eq(again("three", "CUDAEMU_FAIL", "alloc:3:0"), 12);
  ck_assert_int_eq(again("three", "CUDAEMU_FAIL", "alloc:3:1"), 0);
  ck_assert_int_eq(again("three", "CUDAEMU_FAIL", "launch:1"), 20);
  ck_assert_int_eq(again("three", "CUDAEMU_SCHEDULE", "sideways"), 78);
  snprintf(path, sizeof path, "%s/check_emu.%d.json", folder ? folder : "/tmp",
           (int) getpid());
  ck_assert_int_eq(again("three", "CUDAEMU_REPORT", path), 0);
  FILE *f = fopen(path, "r");
  char text[4096] = "";
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_gt(fread(text, 1, sizeof text - 1, f), 0);
  fclose(f);
  remove(path);
  ck_assert_ptr_nonnull(strstr(text,
                               "\"fill\": {\"launches\": 1, \"blocks\": 1, "
                               "\"threads\": 128, \"read\": "));
}
END_TEST

int main(int argc, char **argv) {
  program = argv[0];
  if (argc > 1)
    return body(argv[1]);
  if (!emu_checks())
    return EXIT_FAILURE; /* the compiler does not instrument */
  Suite *s = suite_create("emu");
  TCase *t = tcase_create("kernels");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_loop_test(t, kernels_with_bugs, 0, 3 * CASES);
  tcase_add_test(t, kernel_on_host_memory);
  tcase_add_test(t, every_access_counts);
  tcase_add_test(t, blocks_count_their_bytes);
  tcase_add_test(t, warp_primitives);
  tcase_add_test(t, launches_are_checked);
  tcase_add_loop_test(t, tensor_cores, 0, 24);
  suite_add_tcase(s, t);
  t = tcase_create("host");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_loop_test(t, missing_event, 0, 12);
  tcase_add_loop_test(t, questions_order, 0, 4);
  tcase_add_test(t, freed_memory);
  tcase_add_test(t, destroyed_stream);
  tcase_add_test(t, host_and_device);
  tcase_add_loop_test(t, pinned_memory, 0, 4);
  tcase_add_test(t, pageable_memory);
  tcase_add_test(t, devices);
  tcase_add_test(t, two_threads);
  tcase_add_test(t, environment);
  suite_add_tcase(s, t);
  return unit_main(s, CK_NOFORK);
}
