/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Which tensor comes to lie where in an export.  The same on every rank. */
#ifndef ZT_PROG_EXPORT_PLAN_H
#define ZT_PROG_EXPORT_PLAN_H

#include "io/safetensors.h"
#include "io/source.h"
#include "layout/params.h"

#include <stdbool.h>
#include <stdint.h>

enum { ZT_EXPORT_SHARDS = 800 }; /* rank 0 has all of them open */

typedef struct zt_export_shard {
  char name[48];    /* model.safetensors or model-00001-of-00002.safetensors */
  int first, count; /* its entries */
  zt_text head;     /* what comes before the data */
  int64_t size;     /* of the file, bytes */
} zt_export_shard;

typedef struct zt_export_plan {
  zt_safetensors_entry *entries; /* one a name; id: the source's tensor */
  int *shard_of;                 /* of each entry */
  int64_t *start;                /* [n_entries + 1] running sum of bytes */
  zt_export_shard *shards;
  int n_entries, n_shards;
  int64_t parameters; /* elements, those of tied tensors once */
} zt_export_plan;

/** Plan an export.
 *  Local.
 *  \param[in]  param_of  the parameter of each tensor: their canonical order
 *  \param[in]  cast      whether all tensors are written as dtype; else each
 *                        keeps its own
 *  \param[in]  most      bytes of data in a shard, unless one tensor has more
 *  \param[out] plan      zt_export_plan_free() it, also after a failure
 *  \return ZT_ERR_USAGE if that makes too many shards, ZT_ERR_MEMORY. */
zt_status zt_export_plan_make(const zt_source *source, const int *param_of,
                              bool cast, zt_dtype dtype, int64_t most,
                              zt_export_plan *plan);
void zt_export_plan_free(zt_export_plan *plan);

/** The index file of a plan with several shards, as Transformers writes it.
 *  Local.  \param[out] out  zt_text_free() it  \return ZT_ERR_MEMORY. */
zt_status zt_export_plan_index(const zt_export_plan *plan, zt_text *out);

#endif
