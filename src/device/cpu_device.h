/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Inside of the CPU device, for its own files. */
#ifndef ZT_DEVICE_CPU_DEVICE_H
#define ZT_DEVICE_CPU_DEVICE_H

#include "device/cpu_kernels.h"
#include "device/device.h"

enum { ZT_CPU_SCRATCH = 1 << 19 }; /* floats of a thread, for bf16 */

typedef struct zt_cpu_device {
  zt_device base;
  int threads;
  const zt_cpu_kernels *k;
  float *scratch; /* [threads, ZT_CPU_SCRATCH], touched in bf16 alone */
} zt_cpu_device;

/* ZT_CPU_RANGES runs the statement for pieces [begin, end) of [0, n), where
 * only speed depends on how many there are: each element is computed alone. */
/* clang-format off */
#define ZT_CPU_RANGES(cpu, n, grain, statement)                                \
  do {                                                                         \
    int64_t n_ = (n), grain_ = (grain);                                        \
    int64_t pieces_ = (n_ + grain_ - 1) / grain_;                              \
    int team_ = pieces_ > 1 ? (cpu)->threads : 1;                              \
    _Pragma("omp parallel for num_threads(team_)")                             \
    for (int64_t i_ = 0; i_ < pieces_; i_++) {                                 \
      int64_t begin = i_ * grain_;                                             \
      int64_t end = n_ - begin < grain_ ? n_ : begin + grain_;                 \
      statement;                                                               \
    }                                                                          \
  } while (0)
/* clang-format on */

enum { ZT_CPU_ELEMENTS = 1 << 16 }; /* a piece worth handing to a thread */

/* Rows that make up about one piece. */
static inline int64_t zt_cpu_rows(int64_t d) {
  int64_t rows = ZT_CPU_ELEMENTS / 4 / (d ? d : 1);
  return rows ? rows : 1;
}

static inline float *zt_cpu_scratch(const zt_cpu_device *cpu, int thread) {
  return cpu->scratch + (size_t) thread * ZT_CPU_SCRATCH;
}

/** Number of the calling thread in its team. */
int zt_cpu_thread(void);
zt_status zt_cpu_gemm(zt_device *dev, const zt_gemm *call);
size_t zt_cpu_attention_workspace(const zt_device *dev,
                                  const zt_attention *call);
zt_status zt_cpu_attention_forward(zt_device *dev, const zt_attention *call);
zt_status zt_cpu_attention_backward(zt_device *dev, const zt_attention *call);
/* cpu_step.c */
void zt_cpu_gemm_rows_alone(const zt_cpu_device *cpu, const zt_gemm *call);
zt_status zt_cpu_scatter(zt_device *dev, const zt_scatter *call);
zt_status zt_cpu_row_attention(zt_device *dev, const zt_row_attention *call);

/* cpu_bf16.c */
int64_t zt_cpu_bf16_norm_block(const zt_norm *call);
zt_status zt_cpu_bf16_norm_forward(const zt_cpu_device *cpu,
                                   const zt_norm *call);
void zt_cpu_bf16_norm_backward(const zt_cpu_device *cpu, const zt_norm *call,
                               int64_t begin, int64_t end, float *partial);
zt_status zt_cpu_bf16_activation(const zt_cpu_device *cpu,
                                 const zt_activation *call, bool backward);
zt_status zt_cpu_bf16_drop(const zt_cpu_device *cpu, const zt_drop *call);
zt_status zt_cpu_bf16_rope(const zt_cpu_device *cpu, const zt_rope *call);
zt_status zt_cpu_bf16_row_bias_forward(const zt_cpu_device *cpu,
                                       const zt_row_bias *call);
zt_status zt_cpu_bf16_row_bias_backward(const zt_cpu_device *cpu,
                                        const zt_row_bias *call);
void zt_cpu_bf16_embedding_forward(const zt_cpu_device *cpu,
                                   const zt_embedding *call);
zt_status zt_cpu_bf16_embedding_backward(const zt_cpu_device *cpu,
                                         const zt_embedding *call);
void zt_cpu_bf16_add(const zt_cpu_device *cpu, int64_t n, uint16_t *to,
                     const uint16_t *from);

#endif
