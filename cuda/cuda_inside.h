/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Inside of the CUDA device, for its own files and its communicator. */
#ifndef ZT_CUDA_CUDA_INSIDE_H
#define ZT_CUDA_CUDA_INSIDE_H

#include "cuda/cuda_libraries.h"
#include "cuda/device_cuda.h"

#include <cuda_runtime_api.h>
#include <pthread.h>

enum {
  ZT_CUDA_HALF = 4 << 20,     /* bytes of half a lane */
  ZT_CUDA_SCRATCH = 32 << 20, /* bytes; what cuBLASLt is advised to get */
  ZT_CUDA_PLANS = 512
};

/** A way for copies between host and device: a stream and a pinned buffer in
 *  two halves, one being filled while the other is on its way. */
typedef struct zt_cuda_lane {
  cudaStream_t stream;
  char *pinned;        /* [2 * ZT_CUDA_HALF] */
  cudaEvent_t sent[2]; /* a half has been read by the device */
  int half;            /* the one to fill */
  size_t used;         /* of it */
} zt_cuda_lane;

/** How a matrix product is done: made when its shape is first met. */
typedef struct zt_cuda_plan {
  struct zt_cuda_shape {
    bool transpose_a, transpose_b, biased;
    zt_dtype dtype, dtype_c;
    uint32_t align_a, align_b, align_c, align_from;
    int64_t m, n, k, lda, ldb, ldc;
  } shape;
  cublasLtMatmulDesc_t operation;
  cublasLtMatrixLayout_t a, b, c;
  cublasLtMatmulAlgo_t algorithm;
  size_t workspace; /* bytes of the scratch that it uses */
} zt_cuda_plan;

typedef struct zt_cuda_device {
  zt_device base;
  int ordinal;
  pthread_t owner; /* the thread that computes */
  cudaStream_t compute;
  cudaEvent_t reached; /* for waits */
  void *scratch;       /* [ZT_CUDA_SCRATCH] of the operation that runs */
  zt_cuda_lane lane;   /* of the owner, on its stream */
  zt_cuda_lane beside; /* of all other threads, one at a time */
  pthread_mutex_t lock;
  const zt_cublaslt *lt;
  cublasLtHandle_t handle;
  zt_cuda_plan *plans; /* [ZT_CUDA_PLANS] */
  int n_plans;
  zt_status (*watch)(void *context, int64_t waited_ns);
  void *watch_context;
} zt_cuda_device;

/* device_cuda.c */

/** The stream that all operations are queued on. */
cudaStream_t zt_device_cuda_stream(const zt_device *dev);
/** Wait until an event has happened, without hanging on ranks that are gone.
 *  Local.  \return what the watch says, ZT_ERR_UNAVAILABLE if the GPU fails. */
zt_status zt_device_cuda_wait(zt_device *dev, cudaEvent_t event);
/** Asked again and again while the host waits for the GPU: a status other than
 *  ZT_OK ends the wait.  NULL: nothing is asked. */
void zt_device_cuda_watch(zt_device *dev,
                          zt_status (*watch)(void *context, int64_t waited_ns),
                          void *context);

/** ZT_ERR_MEMORY: the GPU has none for so much.  Local. */
zt_status zt_cuda_no_memory(size_t bytes);
/** ZT_OK, or the failure of a call of the CUDA runtime.  Local. */
zt_status zt_cuda_check(cudaError_t error, const char *what);

/* cuda_memory.c */

zt_status zt_cuda_memory_open(zt_cuda_device *cuda);
void zt_cuda_memory_close(zt_cuda_device *cuda);
zt_status zt_cuda_allocate(zt_device *dev, size_t bytes, void **p);
size_t zt_cuda_free_memory(zt_device *dev);
void zt_cuda_release(zt_device *dev, void *p, size_t bytes);
zt_status zt_cuda_upload(zt_device *dev, void *to, const void *from_host,
                         size_t bytes);
zt_status zt_cuda_download(zt_device *dev, void *to_host, const void *from,
                           size_t bytes);
zt_status zt_cuda_copy(zt_device *dev, void *to, const void *from,
                       size_t bytes);
zt_status zt_cuda_zero(zt_device *dev, void *to, size_t bytes);
zt_status zt_cuda_wait(zt_device *dev);

/* cuda_gemm.c */

zt_status zt_cuda_gemm_open(zt_cuda_device *cuda);
void zt_cuda_gemm_close(zt_cuda_device *cuda);
zt_status zt_cuda_gemm(zt_device *dev, const zt_gemm *call);

#endif
