/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Time as it passes. */
#ifndef ZT_BASE_CLOCK_H
#define ZT_BASE_CLOCK_H

#include <stdint.h>

/** Monotonic clock, ns. */
int64_t zt_clock_ns(void);

#endif
