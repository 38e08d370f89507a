/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device_cpu.h"

#include "base/grid.h"
#include "base/memory.h"
#include "config.h"
#include "device/cpu_device.h"

#include <cblas.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

int zt_cpu_thread(void) {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

/* ---- Choice of kernels ---- */

static const zt_cpu_kernels *choose_kernels(void) {
  const char *wish = getenv("ZT_KERNELS"); /* for tests */
#ifdef ZT_SET_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && (!wish || !strcmp(wish, "avx512")))
    return &zt_cpu_kernels_avx512;
#endif
#ifdef ZT_SET_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      (!wish || strcmp(wish, "portable")))
    return &zt_cpu_kernels_avx2;
#endif
  (void) wish;
  return &zt_cpu_kernels_portable;
}

static const char *blas_core(void) {
#ifdef HAVE_OPENBLAS_GET_CORENAME
  extern char *openblas_get_corename(void);
  return openblas_get_corename();
#else
  return "CBLAS";
#endif
}

void zt_device_cpu_kernels(char name[96]) {
  char version[32] = "";
#ifdef HAVE_OPENBLAS_GET_CONFIG
  extern char *openblas_get_config(void);
  const char *config = openblas_get_config();
  if (!strncmp(config, "OpenBLAS ", 9))
    snprintf(version, sizeof version, "OpenBLAS %.*s ",
             (int) strcspn(config + 9, " "), config + 9);
#endif
  snprintf(name, 96, "%s + %s%s", choose_kernels()->name, version, blas_core());
}

/* Whether the BLAS took half-width kernels although the processor has more. */
static bool blas_is_narrow(void) {
#ifdef ZT_SET_AVX512
  static const char *const narrow[] = {"Haswell",     "Zen",     "Excavator",
                                       "Sandybridge", "Nehalem", "Prescott"};
  for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++)
    if (choose_kernels() == &zt_cpu_kernels_avx512 &&
        !strcmp(blas_core(), narrow[i]))
      return true;
#endif
  return false;
}

void zt_device_cpu_prepare(char **argv) {
  bool again = false;
  if (!getenv("OPENBLAS_CORETYPE") && blas_is_narrow()) {
    setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
    again = true;
  }
  /* GNU OpenMP spins for milliseconds at the end of each loop; where cores are
   * shared that keeps from running what it waits for. */
  if (!getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT")) {
    setenv("GOMP_SPINCOUNT", "10000", 1);
    again = true;
  }
  char self[PATH_MAX] = ""; /* by name: /proc/self/exe would be our name */
  if (again && readlink("/proc/self/exe", self, sizeof self - 1) > 0)
    execv(self, argv); /* if that fails: slower, not wrong */
}

/* ---- Memory ---- */

static zt_status cpu_allocate(zt_device *dev, size_t bytes, void **p) {
  (void) dev;
  void *got = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (got == MAP_FAILED)
    return zt_fail_errno(ZT_ERR_MEMORY, "no memory for %zu bytes", bytes);
  madvise(got, bytes, MADV_HUGEPAGE);
  *p = got;
  return ZT_OK;
}

static void cpu_release(zt_device *dev, void *p, size_t bytes) {
  (void) dev;
  munmap(p, bytes ? bytes : 1);
}

static zt_status cpu_copy(zt_device *dev, void *to, const void *from,
                          size_t bytes) {
  (void) dev;
  memcpy(to, from, bytes);
  return ZT_OK;
}

/* What is downloaded is mostly on its way to a file. */
static zt_status cpu_download(zt_device *dev, void *to, const void *from,
                              size_t bytes) {
  (void) dev;
  zt_copy_past(to, from, bytes);
  return ZT_OK;
}

static zt_status cpu_zero(zt_device *dev, void *to, size_t bytes) {
  (void) dev;
  memset(to, 0, bytes);
  return ZT_OK;
}

static zt_status cpu_wait(zt_device *dev) {
  (void) dev;
  return ZT_OK;
}

static size_t scratch_bytes(const zt_cpu_device *cpu) {
  return (size_t) cpu->threads * ZT_CPU_SCRATCH * sizeof(float);
}

static void cpu_destroy(zt_device *dev) {
  zt_cpu_device *cpu = (zt_cpu_device *) dev;
  cpu_release(dev, cpu->scratch, scratch_bytes(cpu));
  free(dev);
}

/* ---- Operations ---- */

static const zt_cpu_device *cpu_of(const zt_device *dev) {
  return (const zt_cpu_device *) dev;
}

/* Rows that make one partial sum of the weight gradient. */
static int64_t norm_block(const zt_norm *call) {
  return call->dtype == ZT_BF16 ? zt_cpu_bf16_norm_block(call)
                                : ZT_CPU_NORM_BLOCK;
}

static size_t cpu_norm_workspace(const zt_device *dev, const zt_norm *call) {
  (void) dev;
  int64_t blocks = (call->rows + norm_block(call) - 1) / norm_block(call);
  int64_t width = call->kind == ZT_LAYER_NORM ? 2 * call->d : call->d;
  return (size_t) (blocks * width) * sizeof(float);
}

static zt_status cpu_norm_forward(zt_device *dev, const zt_norm *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  if (call->dtype == ZT_BF16)
    return zt_cpu_bf16_norm_forward(cpu, call);
  ZT_CPU_RANGES(cpu, call->rows, zt_cpu_rows(call->d),
                cpu->k->norm_forward(call, begin, end));
  return ZT_OK;
}

/* The weight gradient is a sum over rows: partial sums of fixed blocks, then
 * the blocks in order. */
static zt_status cpu_norm_backward(zt_device *dev, const zt_norm *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  bool layer = call->kind == ZT_LAYER_NORM;
  int64_t width = layer ? 2 * call->d : call->d, block = norm_block(call);
  int64_t blocks = (call->rows + block - 1) / block;
  float *partial = call->workspace;
  ZT_CPU_RANGES(cpu, call->rows, block, {
    float *sum = partial + begin / block * width;
    if (call->dtype == ZT_BF16)
      zt_cpu_bf16_norm_backward(cpu, call, begin, end, sum);
    else
      cpu->k->norm_backward(call, begin, end, sum);
  });
  ZT_CPU_RANGES(
      cpu, call->d, 1024,
      cpu->k->fold_rows(call->dw, partial, blocks, width, begin, end));
  if (layer)
    ZT_CPU_RANGES(cpu, call->d, 1024,
                  cpu->k->fold_rows(call->db, partial + call->d, blocks, width,
                                    begin, end));
  return ZT_OK;
}

static zt_status cpu_bias_forward(zt_device *dev, const zt_bias *call) {
  (void) dev;
  const char *table = call->table;
  const size_t size = zt_dtype_size(call->dtype);
  for (int64_t h = 0; h < call->heads; h++)
    for (int64_t o = 0; o < call->offsets; o++) {
      size_t at = (size_t) (call->bucket[o] * call->heads + h);
      zt_to_fp32(call->dtype, table + at * size,
                 &call->bias[h * call->offsets + o], 1);
    }
  return ZT_OK;
}

static zt_status cpu_bias_backward(zt_device *dev, const zt_bias *call) {
  (void) dev;
  for (int64_t h = 0; h < call->heads; h++)
    for (int64_t o = 0; o < call->offsets; o++)
      call->dtable[call->bucket[o] * call->heads + h] +=
          call->dbias[h * call->offsets + o];
  return ZT_OK;
}

static zt_status cpu_activation_forward(zt_device *dev,
                                        const zt_activation *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  if (call->dtype == ZT_BF16)
    return zt_cpu_bf16_activation(cpu, call, false);
  ZT_CPU_RANGES(cpu, call->rows, zt_cpu_rows(call->d),
                cpu->k->activation_forward(call, begin, end));
  return ZT_OK;
}

static zt_status cpu_activation_backward(zt_device *dev,
                                         const zt_activation *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  if (call->dtype == ZT_BF16)
    return zt_cpu_bf16_activation(cpu, call, true);
  ZT_CPU_RANGES(cpu, call->rows, zt_cpu_rows(call->d),
                cpu->k->activation_backward(call, begin, end));
  return ZT_OK;
}

static zt_status cpu_drop(zt_device *dev, const zt_drop *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  if (call->dtype == ZT_BF16)
    return zt_cpu_bf16_drop(cpu, call);
  ZT_CPU_RANGES(cpu, call->rows, zt_cpu_rows(call->d),
                cpu->k->drop(call, begin, end));
  return ZT_OK;
}

static zt_status cpu_rope(zt_device *dev, const zt_rope *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  if (call->x.dtype == ZT_BF16)
    return zt_cpu_bf16_rope(cpu, call);
  ZT_CPU_RANGES(cpu, call->rows, zt_cpu_rows(call->heads * call->head_dim),
                cpu->k->rope(call, begin, end));
  return ZT_OK;
}

static zt_status cpu_row_bias_forward(zt_device *dev, const zt_row_bias *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  if (call->dtype == ZT_BF16)
    return zt_cpu_bf16_row_bias_forward(cpu, call);
  ZT_CPU_RANGES(cpu, call->rows, zt_cpu_rows(call->n),
                cpu->k->row_bias_forward(call, begin, end));
  return ZT_OK;
}

/* Threads share the columns, as in the gradient of an embedding. */
static zt_status cpu_row_bias_backward(zt_device *dev,
                                       const zt_row_bias *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  if (call->dtype == ZT_BF16)
    return zt_cpu_bf16_row_bias_backward(cpu, call);
  ZT_CPU_RANGES(cpu, call->n, ZT_CPU_BIAS_COLUMNS,
                cpu->k->row_bias_backward(call, begin, end));
  return ZT_OK;
}

static zt_status cpu_embedding_forward(zt_device *dev,
                                       const zt_embedding *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  if (call->dtype == ZT_BF16) {
    zt_cpu_bf16_embedding_forward(cpu, call);
    return ZT_OK;
  }
  const float *table = call->table;
  size_t bytes = (size_t) call->d * sizeof *table;
#pragma omp parallel for schedule(static) num_threads(cpu->threads)
  for (int64_t r = 0; r < call->rows; r++) {
    const float *row = table + (int64_t) call->ids[r] * call->d;
    float *y = (float *) call->y + r * call->d;
    if (call->accumulate)
      cpu->k->add(y, row, call->d);
    else
      memcpy(y, row, bytes);
  }
  return ZT_OK;
}

/* Threads share the columns, so each sum runs over the rows in order. */
static zt_status cpu_embedding_backward(zt_device *dev,
                                        const zt_embedding *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  if (call->dtype == ZT_BF16)
    return zt_cpu_bf16_embedding_backward(cpu, call);
  ZT_CPU_RANGES(cpu, call->d, 64, cpu->k->embedding_backward(call, begin, end));
  return ZT_OK;
}

static zt_status cpu_cross_entropy(zt_device *dev,
                                   const zt_cross_entropy *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  ZT_CPU_RANGES(cpu, call->rows, 1, cpu->k->cross_entropy(call, begin, end));
  for (int64_t r = 0; r < call->rows; r++)
    call->loss[0] += (double) call->row_loss[r];
  for (int64_t r = 0; zt_loss_has_terms(call) && r < call->rows; r++)
    call->loss[1] += (double) call->row_loss[call->rows + r];
  return ZT_OK;
}

static zt_status cpu_argmax(zt_device *dev, int64_t rows, int64_t n,
                            const float *x, int32_t *index) {
  const zt_cpu_device *cpu = cpu_of(dev);
  for (int64_t r = 0; r < rows; r++)
    index[r] = cpu->k->argmax(x + r * n, n);
  return ZT_OK;
}

static zt_status cpu_accumulate(zt_device *dev, int64_t n, float *to,
                                const float *from) {
  const zt_cpu_device *cpu = cpu_of(dev);
  ZT_CPU_RANGES(cpu, n, ZT_CPU_ELEMENTS,
                cpu->k->add(to + begin, from + begin, end - begin));
  return ZT_OK;
}

static zt_status cpu_add(zt_device *dev, zt_dtype dtype, int64_t n, void *to,
                         const void *from) {
  if (dtype == ZT_FP32)
    return cpu_accumulate(dev, n, to, from);
  zt_cpu_bf16_add(cpu_of(dev), n, to, from);
  return ZT_OK;
}

static zt_status cpu_convert(zt_device *dev, int64_t n, zt_dtype from_dtype,
                             const void *from, zt_dtype to_dtype, void *to) {
  const zt_cpu_device *cpu = cpu_of(dev);
  (void) to_dtype;
  if (from_dtype == ZT_FP32)
    ZT_CPU_RANGES(cpu, n, ZT_CPU_ELEMENTS,
                  cpu->k->narrow((const float *) from + begin,
                                 (uint16_t *) to + begin, end - begin));
  else
    ZT_CPU_RANGES(cpu, n, ZT_CPU_ELEMENTS,
                  cpu->k->widen((const uint16_t *) from + begin,
                                (float *) to + begin, end - begin));
  return ZT_OK;
}

static zt_status cpu_adamw(zt_device *dev, const zt_adamw *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  ZT_CPU_RANGES(cpu, call->n, ZT_CPU_ELEMENTS, cpu->k->adamw(call, begin, end));
  return ZT_OK;
}

/* Threads share the rows, and then the columns. */
static zt_status cpu_factored(zt_device *dev, const zt_factored *call) {
  const zt_cpu_device *cpu = cpu_of(dev);
  const int64_t first = call->first / call->columns;
  const int64_t rows = (call->first + call->n - 1) / call->columns + 1 - first;
  const int64_t grain = zt_cpu_rows(call->columns);
  if (call->phase == ZT_FACTORED_UPDATE) {
    ZT_CPU_RANGES(cpu, rows, grain,
                  cpu->k->factored_update(call, first + begin, first + end));
    return ZT_OK;
  }
  ZT_CPU_RANGES(cpu, rows, grain,
                cpu->k->factored_rows(call, first + begin, first + end));
  if (call->column_sum)
    ZT_CPU_RANGES(cpu, call->columns, 256,
                  cpu->k->factored_columns(call, begin, end));
  return ZT_OK;
}

static zt_status cpu_step_down(zt_device *dev, int64_t n, float *p,
                               const float *update, float decay,
                               float step_size) {
  const zt_cpu_device *cpu = cpu_of(dev);
  ZT_CPU_RANGES(cpu, n, ZT_CPU_ELEMENTS,
                cpu->k->step_down(p + begin, update + begin, decay, step_size,
                                  end - begin));
  return ZT_OK;
}

static zt_status cpu_sum_squares(zt_device *dev, int64_t cells, const float *x,
                                 double *sums) {
  const zt_cpu_device *cpu = cpu_of(dev);
  ZT_CPU_RANGES(cpu, cells, 16, {
    for (int64_t c = begin; c < end; c++)
      sums[c] = cpu->k->sum_squares(x + c * ZT_GRID, ZT_GRID);
  });
  return ZT_OK;
}

static const zt_device_ops cpu_ops = {
    .name = "cpu",
    .allocate = cpu_allocate,
    .release = cpu_release,
    .upload = cpu_copy,
    .download = cpu_download,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .wait = cpu_wait,
    .destroy = cpu_destroy,
    .norm_workspace = cpu_norm_workspace,
    .attention_workspace = zt_cpu_attention_workspace,
    .gemm = zt_cpu_gemm,
    .norm_forward = cpu_norm_forward,
    .norm_backward = cpu_norm_backward,
    .attention_forward = zt_cpu_attention_forward,
    .attention_backward = zt_cpu_attention_backward,
    .scatter = zt_cpu_scatter,
    .row_attention = zt_cpu_row_attention,
    .bias_forward = cpu_bias_forward,
    .bias_backward = cpu_bias_backward,
    .activation_forward = cpu_activation_forward,
    .activation_backward = cpu_activation_backward,
    .drop = cpu_drop,
    .rope = cpu_rope,
    .row_bias_forward = cpu_row_bias_forward,
    .row_bias_backward = cpu_row_bias_backward,
    .embedding_forward = cpu_embedding_forward,
    .embedding_backward = cpu_embedding_backward,
    .cross_entropy = cpu_cross_entropy,
    .argmax = cpu_argmax,
    .add = cpu_add,
    .convert = cpu_convert,
    .accumulate = cpu_accumulate,
    .adamw = cpu_adamw,
    .factored = cpu_factored,
    .step_down = cpu_step_down,
    .sum_squares = cpu_sum_squares,
};

zt_status zt_device_cpu_create(int threads, zt_device **dev) {
  zt_cpu_device *cpu = zt_calloc(1, sizeof *cpu);
  if (!cpu)
    return ZT_ERR_MEMORY;
  cpu->base.ops = &cpu_ops;
  cpu->k = choose_kernels();
  cpu->threads = threads;
#ifdef _OPENMP
  if (threads == 0)
    cpu->threads = omp_get_max_threads();
#else
  cpu->threads = 1;
#endif
#ifdef HAVE_OPENBLAS_SET_NUM_THREADS
  extern void openblas_set_num_threads(int);
  openblas_set_num_threads(1);
#endif
  zt_device_cpu_kernels(cpu->base.kernels);
  void *scratch;
  zt_status status = cpu_allocate(&cpu->base, scratch_bytes(cpu), &scratch);
  if (status != ZT_OK) {
    free(cpu);
    return status;
  }
  cpu->scratch = scratch;
  *dev = &cpu->base;
  return ZT_OK;
}
