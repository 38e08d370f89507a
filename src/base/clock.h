/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Time as it passes, and runs out. */
#ifndef ZT_BASE_CLOCK_H
#define ZT_BASE_CLOCK_H

#include <stdint.h>

/** Monotonic clock, ns. */
int64_t zt_clock_ns(void);
/** Whatever happens, this process ends within so many seconds, with this exit
 *  code: for the last things that a failing process does, which may block. */
void zt_clock_exit_within(unsigned seconds, int exit_code);

#endif
