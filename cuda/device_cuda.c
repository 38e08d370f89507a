/* SPDX-License-Identifier: BSD-3-Clause */
#include "cuda/device_cuda.h"

#include "base/memory.h"
#include "comm/agree.h"
#include "cuda/cuda_inside.h"
#include "cuda/cuda_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Errors ---- */

zt_status zt_cuda_check(cudaError_t error, const char *what) {
  if (error == cudaSuccess)
    return ZT_OK;
  cudaGetLastError(); /* what is reported here is not the next one's */
  return zt_fail(error == cudaErrorMemoryAllocation ? ZT_ERR_MEMORY
                                                    : ZT_ERR_UNAVAILABLE,
                 "CUDA failed in %s: %.120s", what, cudaGetErrorString(error));
}

zt_status zt_cuda_launched(const char *operation) {
  return zt_cuda_check(cudaGetLastError(), operation);
}

zt_status zt_cuda_allow_shared(const void *kernel, size_t bytes,
                               const char *operation) {
  enum { ALWAYS_THERE = 48 << 10 };
  if (bytes <= ALWAYS_THERE)
    return ZT_OK;
  cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) bytes);
  if (error == cudaSuccess)
    return ZT_OK;
  cudaGetLastError();
  return zt_fail(ZT_ERR_CONFIG,
                 "%s: rows this wide need %zu KiB of shared memory, more than "
                 "a block of this GPU has; use train.precision = \"bf16\"",
                 operation, bytes >> 10);
}

/* ---- Operations ---- */

static cudaStream_t stream_of(const zt_device *dev) {
  return ((const zt_cuda_device *) dev)->compute;
}

/* Operations that need nothing but their call and the stream. */
#define QUEUE(name, type)                                                      \
  static zt_status cuda_##name(zt_device *dev, const type *call) {             \
    return zt_cuda_##name(call, stream_of(dev));                               \
  }
QUEUE(norm_forward, zt_norm)
QUEUE(norm_backward, zt_norm)
QUEUE(attention_forward, zt_attention)
QUEUE(attention_backward, zt_attention)
QUEUE(scatter, zt_scatter)
QUEUE(row_attention, zt_row_attention)
QUEUE(bias_forward, zt_bias)
QUEUE(bias_backward, zt_bias)
QUEUE(activation_forward, zt_activation)
QUEUE(activation_backward, zt_activation)
QUEUE(drop, zt_drop)
QUEUE(rope, zt_rope)
QUEUE(row_bias_forward, zt_row_bias)
QUEUE(row_bias_backward, zt_row_bias)
QUEUE(embedding_forward, zt_embedding)
QUEUE(cross_entropy, zt_cross_entropy)
QUEUE(adamw, zt_adamw)
QUEUE(factored, zt_factored)

static size_t cuda_norm_workspace(const zt_device *dev, const zt_norm *call) {
  (void) dev;
  return zt_cuda_norm_workspace(call);
}

static size_t cuda_attention_workspace(const zt_device *dev,
                                       const zt_attention *call) {
  (void) dev;
  return zt_cuda_attention_workspace(call);
}

static zt_status cuda_embedding_backward(zt_device *dev,
                                         const zt_embedding *call) {
  return zt_cuda_embedding_backward(call, ((zt_cuda_device *) dev)->scratch,
                                    ZT_CUDA_SCRATCH, stream_of(dev));
}

static zt_status cuda_argmax(zt_device *dev, int64_t rows, int64_t n,
                             const float *x, int32_t *index) {
  return zt_cuda_argmax(rows, n, x, index, stream_of(dev));
}

static zt_status cuda_add(zt_device *dev, zt_dtype dtype, int64_t n, void *to,
                          const void *from) {
  return zt_cuda_add(dtype, n, to, from, stream_of(dev));
}

static zt_status cuda_convert(zt_device *dev, int64_t n, zt_dtype from_dtype,
                              const void *from, zt_dtype to_dtype, void *to) {
  (void) from_dtype; /* the other of the two */
  return zt_cuda_convert(n, from, to_dtype, to, stream_of(dev));
}

static zt_status cuda_accumulate(zt_device *dev, int64_t n, float *to,
                                 const float *from) {
  return zt_cuda_add(ZT_FP32, n, to, from, stream_of(dev));
}

static zt_status cuda_step_down(zt_device *dev, int64_t n, float *p,
                                const float *update, float decay,
                                float step_size) {
  return zt_cuda_step_down(n, p, update, decay, step_size, stream_of(dev));
}

/* The sums are wanted on the host. */
static zt_status cuda_sum_squares(zt_device *dev, int64_t cells, const float *x,
                                  double *sums) {
  enum { ROOM = ZT_CUDA_SCRATCH / sizeof(double), CELL = 4096 };
  double *scratch = ((zt_cuda_device *) dev)->scratch;
  for (int64_t at = 0; at < cells; at += ROOM) {
    int64_t n = cells - at < ROOM ? cells - at : ROOM;
    ZT_TRY(zt_cuda_sum_squares(n, x + at * CELL, scratch, stream_of(dev)));
    ZT_TRY(
        zt_cuda_download(dev, sums + at, scratch, (size_t) n * sizeof *sums));
  }
  return ZT_OK;
}

static void cuda_destroy(zt_device *dev) {
  zt_cuda_device *cuda = (zt_cuda_device *) dev;
  if (cuda->lt)
    zt_cuda_gemm_close(cuda);
  zt_cuda_memory_close(cuda);
  free(cuda);
}

static const zt_device_ops cuda_ops = {
    .name = "cuda",
    .allocate = zt_cuda_allocate,
    .release = zt_cuda_release,
    .upload = zt_cuda_upload,
    .download = zt_cuda_download,
    .copy = zt_cuda_copy,
    .zero = zt_cuda_zero,
    .wait = zt_cuda_wait,
    .destroy = cuda_destroy,
    .free_memory = zt_cuda_free_memory,
    .norm_workspace = cuda_norm_workspace,
    .attention_workspace = cuda_attention_workspace,
    .gemm = zt_cuda_gemm,
    .gemm_adds = true,
    .norm_forward = cuda_norm_forward,
    .norm_backward = cuda_norm_backward,
    .attention_forward = cuda_attention_forward,
    .attention_backward = cuda_attention_backward,
    .scatter = cuda_scatter,
    .row_attention = cuda_row_attention,
    .bias_forward = cuda_bias_forward,
    .bias_backward = cuda_bias_backward,
    .activation_forward = cuda_activation_forward,
    .activation_backward = cuda_activation_backward,
    .drop = cuda_drop,
    .rope = cuda_rope,
    .row_bias_forward = cuda_row_bias_forward,
    .row_bias_backward = cuda_row_bias_backward,
    .embedding_forward = cuda_embedding_forward,
    .embedding_backward = cuda_embedding_backward,
    .cross_entropy = cuda_cross_entropy,
    .argmax = cuda_argmax,
    .add = cuda_add,
    .convert = cuda_convert,
    .accumulate = cuda_accumulate,
    .adamw = cuda_adamw,
    .factored = cuda_factored,
    .step_down = cuda_step_down,
    .sum_squares = cuda_sum_squares,
};

/* ---- Which GPU ---- */

/* The count is not to be trusted after an error. */
static zt_status count_devices(int *count) {
  cudaError_t error = cudaGetDeviceCount(count);
  if (error == cudaErrorNoDevice || (error == cudaSuccess && *count < 1))
    return zt_fail(ZT_ERR_UNAVAILABLE,
                   "no GPU is visible to this process; ask the launcher for "
                   "one a rank, or use runtime.device = \"cpu\"");
  if (error == cudaErrorInsufficientDriver)
    return zt_fail(ZT_ERR_UNAVAILABLE,
                   "no NVIDIA driver here, or one too old for CUDA %d.%d; use "
                   "runtime.device = \"cpu\"",
                   CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  return zt_cuda_check(error, "the search for a GPU");
}

bool zt_device_cuda_is_there(void) {
  int count;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

/* A number that names the GPU among those of its node. */
static zt_status choose_device(zt_comm *comm, int *ordinal, int64_t *place) {
  int count, ranks, domain, bus, device;
  char text[32] = "";
  int local = zt_comm_local_rank(comm, &ranks);
  ZT_TRY(count_devices(&count));
  /* Launchers either show all GPUs to all ranks, or each rank its own. */
  *ordinal = local % count;
  ZT_TRY(zt_cuda_check(cudaDeviceGetPCIBusId(text, (int) sizeof text, *ordinal),
                       "the search for a GPU"));
  if (sscanf(text, "%x:%x:%x", (unsigned *) &domain, (unsigned *) &bus,
             (unsigned *) &device) != 3)
    return zt_fail(ZT_ERR_UNAVAILABLE, "a GPU has the address '%.31s'", text);
  *place = (int64_t) domain << 16 | bus << 8 | device;
  return ZT_OK;
}

/* Two ranks on one GPU would halve its memory and hang NCCL. */
static zt_status check_alone(zt_comm *comm, const int64_t *places) {
  for (int r = 0; r < comm->rank; r++)
    if (comm->node_of[r] == comm->node_of[comm->rank] &&
        places[r] == places[comm->rank])
      return zt_fail(ZT_ERR_UNAVAILABLE,
                     "ranks %d and %d are on one GPU; start at most as many "
                     "ranks on a node as it has GPUs",
                     r, comm->rank);
  return ZT_OK;
}

static zt_status find_device(zt_comm *comm, int *ordinal) {
  int64_t *places = zt_calloc((size_t) comm->size, sizeof *places);
  zt_status status = ZT_ERR_MEMORY;
  if (places)
    status = choose_device(comm, ordinal, &places[comm->rank]);
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = zt_comm_all_reduce(comm, places, comm->size, ZT_SUM);
  if (status == ZT_OK)
    status = zt_agree(comm, check_alone(comm, places));
  free(places);
  return status;
}

/* ---- Creation ---- */

static zt_status name_kernels(zt_cuda_device *cuda) {
  struct cudaDeviceProp p;
  size_t version = cuda->lt->cublasLtGetVersion();
  ZT_TRY(zt_cuda_check(cudaGetDeviceProperties(&p, cuda->ordinal),
                       "the properties of the GPU"));
  snprintf(cuda->base.kernels, sizeof cuda->base.kernels,
           "cuda sm_%d%d %.40s + cuBLASLt %zu", p.major, p.minor, p.name,
           version);
  return ZT_OK;
}

static zt_status make(zt_cuda_device *cuda) {
  ZT_TRY(zt_cuda_check(cudaSetDevice(cuda->ordinal), "the choice of a GPU"));
  ZT_TRY(zt_cublaslt_load(&cuda->lt));
  ZT_TRY(zt_cuda_memory_open(cuda));
  ZT_TRY(zt_cuda_gemm_open(cuda));
  return name_kernels(cuda);
}

zt_status zt_device_cuda_create(zt_comm *comm, zt_device **dev) {
  int ordinal = 0;
  ZT_TRY(find_device(comm, &ordinal));
  zt_cuda_device *cuda = zt_calloc(1, sizeof *cuda);
  zt_status status = cuda ? ZT_OK : ZT_ERR_MEMORY;
  if (cuda) {
    cuda->base.ops = &cuda_ops;
    cuda->ordinal = ordinal;
    status = make(cuda);
  }
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    *dev = &cuda->base;
  else if (cuda)
    cuda_destroy(&cuda->base);
  return status;
}

zt_status zt_device_cuda_create_to_plan(zt_device **dev) {
  zt_cuda_device *cuda = zt_calloc(1, sizeof *cuda);
  if (!cuda)
    return ZT_ERR_MEMORY;
  cuda->base.ops = &cuda_ops;
  snprintf(cuda->base.kernels, sizeof cuda->base.kernels, "cuda");
  *dev = &cuda->base;
  return ZT_OK;
}

const char *zt_device_cuda_version(void) {
  return ZT_TEXT(CUDART_VERSION);
}

cudaStream_t zt_device_cuda_stream(const zt_device *dev) {
  return stream_of(dev);
}

void zt_device_cuda_watch(zt_device *dev,
                          zt_status (*watch)(void *context, int64_t waited_ns),
                          void *context) {
  zt_cuda_device *cuda = (zt_cuda_device *) dev;
  cuda->watch = watch;
  cuda->watch_context = context;
}
