/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Between files and this rank's slices: parameters from a source, the whole
 *  state from and to restarts, and the digest of both.  One fixed buffer stands
 *  between file and device, whatever the size of the model. */
#ifndef ZT_TRAIN_STATE_H
#define ZT_TRAIN_STATE_H

#include "io/restart.h"
#include "io/source.h"
#include "train/zero3.h"

/** Fill the master slices from a source; each rank reads its own alone.
 *  Collective.  \return agreed status. */
zt_status zt_state_load(zt_zero3 *zero3, zt_source *source);
/** Whether a restart holds what the optimizer here keeps.  Local. */
bool zt_state_is_alike(const zt_zero3 *zero3, const zt_restart *restart);
/** Fill master and moments or statistics from a restart of any number of ranks
 *  that is alike.
 *  Collective.
 *  \param[out] digest   of the state as it stands on the device then
 *  \param[out] damaged  a checksum proved the data wrong
 *  \return agreed status. */
zt_status zt_state_resume(zt_zero3 *zero3, zt_restart *restart,
                          uint64_t *digest, bool *damaged);

/** Digest of the parameters, as `ztinfo digest` prints it.
 *  Collective.
 *  \param[in] step  >= 0: of the whole state at this step (--state); -1: of the
 *                   parameters alone */
zt_status zt_state_digest(zt_zero3 *zero3, int64_t step, uint64_t *digest);

/** zt_restart_save.read for a zt_zero3 as context.  Local. */
zt_status zt_state_read(void *zero3, int state, int64_t at, int64_t n,
                        float *values);

#endif
