/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A Hugging Face model directory as a source of tensors: config.json, and
 *  model.safetensors or the shards that model.safetensors.index.json lists. */
#ifndef ZT_IO_HFDIR_H
#define ZT_IO_HFDIR_H

#include "comm/comm.h"
#include "io/source.h"

#define ZT_HF_SINGLE "model.safetensors"
#define ZT_HF_INDEX "model.safetensors.index.json"

/** Open a directory; all files are checked whole before any data is read.
 *  Collective.
 *  \param[out] source  zt_source_close() it
 *  \return agreed status: ZT_ERR_NOINPUT for a missing file, ZT_ERR_DATA naming
 *          file, tensor and what is wrong. */
zt_status zt_hfdir_open(const char *path, zt_comm *comm, zt_source **source);

#endif
