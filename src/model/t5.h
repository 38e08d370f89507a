/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What tests need to see of T5; everything else goes through model/model.h. */
#ifndef ZT_MODEL_T5_H
#define ZT_MODEL_T5_H

#include <stdbool.h>
#include <stdint.h>

/** Bucket of a relative position, key minus query.
 *  Source: T5's _relative_position_bucket, in fp32 as there. */
int64_t zt_t5_bucket(int64_t offset, bool bidirectional, int64_t buckets,
                     int64_t max_distance);

#endif
