/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations of generation: every row by itself, whatever stands beside it. */
#include "device/cpu_device.h"

#include <string.h>

/* Columns of a product that are one kernel's work or a multiple of it, and how
 * many pieces a thread gets at least where there are enough; of a single row,
 * whose matrix is read in order, one piece. */
enum { COLUMNS = 64, PIECES = 4 };

/* Multiplications of an attention for which threads are not worth waking. */
enum { ALONE = 1 << 17 };

void zt_cpu_gemm_rows_alone(const zt_cpu_device *cpu, const zt_gemm *call) {
  int64_t pieces = cpu->threads * (call->m == 1 ? 1 : PIECES);
  int64_t wanted = call->n / pieces / COLUMNS * COLUMNS;
  int64_t columns = wanted < COLUMNS ? COLUMNS : wanted;
  ZT_CPU_RANGES(cpu, call->n, columns, cpu->k->gemm_rows(call, begin, end));
}

zt_status zt_cpu_scatter(zt_device *dev, const zt_scatter *call) {
  (void) dev;
  for (int64_t r = 0; r < call->rows; r++)
    memcpy((float *) call->to.data + call->place[r] * call->to.ld,
           (const float *) call->from.data + r * call->from.ld,
           (size_t) call->n * sizeof(float));
  return ZT_OK;
}

zt_status zt_cpu_row_attention(zt_device *dev, const zt_row_attention *call) {
  const zt_cpu_device *cpu = (const zt_cpu_device *) dev;
  int64_t heads = call->rows * call->heads, seen = 0;
  if (call->most_keys > ZT_CPU_SCRATCH)
    return zt_fail(ZT_ERR_DATA,
                   "a text of more than %d tokens; use a shorter "
                   "prompt or --max-new-tokens",
                   ZT_CPU_SCRATCH);
  for (int64_t r = 0; r < call->rows; r++)
    seen += call->keys[r];
  int64_t work = seen * call->heads * call->head_dim;
  int team = work < ALONE ? 1 : cpu->threads;
#pragma omp parallel for schedule(dynamic, 4) num_threads(team)
  for (int64_t i = 0; i < heads; i++)
    cpu->k->row_attention(call, i / call->heads, i % call->heads,
                          zt_cpu_scratch(cpu, zt_cpu_thread()));
  return ZT_OK;
}
