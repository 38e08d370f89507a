/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A thread that does something every so often.  All Local. */
#ifndef ZT_BASE_TICKER_H
#define ZT_BASE_TICKER_H

#include "base/status.h"

typedef struct zt_ticker zt_ticker;

/** Call tick() every so many seconds, first after one such time.
 *  \param[in]  tick    on the thread; signals do not reach it
 *  \param[out] ticker  zt_ticker_stop() it
 *  \return ZT_ERR_MEMORY. */
zt_status zt_ticker_start(double seconds, void (*tick)(void *context),
                          void *context, zt_ticker **ticker);
/** Waits for a tick under way.  Sets *ticker to NULL; NULL is allowed. */
void zt_ticker_stop(zt_ticker **ticker);

/** Sleep; a signal may end it early. */
void zt_sleep(double seconds);

#endif
