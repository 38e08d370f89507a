/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Restarts: what a run needs to go on, on any number of ranks (FORMAT).
 *
 *  A restart is a directory step-NNNNNNNNN with part files, a manifest and a
 *  seal.  It is written as step-NNNNNNNNN.tmp and renamed when all of it is
 *  durable, so a directory without .tmp and with a valid seal is whole.  The
 *  part files are laid out by HDF5 once; writing and reading are POSIX calls at
 *  known offsets. */
#ifndef ZT_IO_RESTART_H
#define ZT_IO_RESTART_H

#include "base/status.h"
#include "comm/comm.h"
#include "io/source.h"
#include "layout/shard.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What is kept of each element, in the order of the files. */
enum { ZT_MASTER, ZT_EXP_AVG, ZT_EXP_AVG_SQ, ZT_STATES };

/** Name of the dataset of a state: "master", "exp_avg", "exp_avg_sq". */
const char *zt_state_name(int state);
/** Where parameters stand in that state, in views and in keys of the digest:
 *  "parameters", "exp_avg", "exp_avg_sq". */
const char *zt_state_group(int state);

/* ---- Writing ---- */

typedef struct zt_restart_writer zt_restart_writer;

/** How restarts are written. */
typedef struct zt_restart_options {
  int ranks_per_part; /* 0: one part a node */
  size_t staging;     /* bytes of copies of what the run wants to change and is
                         not yet written; enough for all: a save holds the run
                         up for one copy */
  bool statistics; /* no moments; the last unit holds what the optimizer keeps
                      instead, and is no part of the model */
} zt_restart_options;

/** Which restarts stay. */
typedef struct zt_retention {
  int64_t keep;       /* the newest ones */
  int64_t keep_every; /* those of steps that are a multiple; 0: none */
  int64_t best;       /* the step whose evaluation was best; -1: none */
} zt_retention;

/** What a save is about, the same on every rank. */
typedef struct zt_restart_save {
  int64_t step;            /* done */
  int64_t updates;         /* of AdamW */
  int64_t epoch, position; /* of the next sample */
  int64_t metrics_bytes;
  int64_t evaluated; /* step of the last evaluation, -1: none */
  int64_t best_step; /* of the best one, -1: none */
  double best_loss;
  json_t *configuration;  /* resolved settings; borrowed until the end */
  json_t *provenance;     /* who wrote it, from what; borrowed */
  zt_retention retention; /* applied when it is committed, beside the run */
  /** Elements at .. at + n - 1 of this rank's padded shard; called by the
   *  writer's thread too.  Local.  \param[out] values  [n] host */
  zt_status (*read)(void *context, int state, int64_t at, int64_t n,
                    float *values);
  void *context;
  /** What must be durable before the restart is, on rank 0's thread; NULL:
   *  nothing. */
  void (*sync)(void *context);
  void *sync_context;
} zt_restart_save;

/** How a save ended. */
typedef struct zt_restart_end {
  bool committed; /* else it is not at its end */
  int64_t step, bytes;
  uint64_t digest; /* of the state, DESIGN's --state */
  double seconds;  /* from start to commit */
  double writing;  /* of these the slowest rank wrote, and rank 0 committed */
  double stall;    /* of these the run stood still on this rank */
  double raw_rate; /* bytes a second that the directory took from all ranks when
                      it was measured, at the start; 0: unknown */
} zt_restart_end;

/** Prepare to save: decides the parts, lays out their skeletons, starts the
 *  writer's thread, which begins by measuring the directory.
 *  Collective.
 *  \param[in] dir     RUN/restart, made if it is missing
 *  \param[in] model   family, model type, tie and so on, for the manifest;
 *                     borrowed for this call
 *  \param[in] source  whose configuration files and tensor names are kept; not
 *                     needed afterwards
 *  \return agreed status. */
zt_status zt_restart_writer_create(const char *dir, const zt_params *params,
                                   json_t *model, zt_source *source,
                                   const zt_restart_options *options,
                                   zt_comm *comm, zt_restart_writer **writer);
/** Local.  Waits for the thread.  Sets *writer to NULL; NULL is allowed. */
void zt_restart_writer_destroy(zt_restart_writer **writer);

/** Memory that it takes on the first of `ranks` ranks, bytes: copies, buffers,
 *  checksums, and the bytes of its part that stay the same.  Local.
 *  \param[in] config_bytes  of the source's configuration files */
size_t zt_restart_writer_bytes(const zt_params *params, int ranks,
                               const zt_restart_options *options,
                               int64_t config_bytes);

/** Begin a save; it goes on beside the run.  None may be running.  One of the
 *  same step is replaced.
 *  Collective.  \return agreed status; after a failure nothing is left. */
zt_status zt_restart_start(zt_restart_writer *writer,
                           const zt_restart_save *save);
/** To be called before the run changes elements at .. at + n - 1 of its shard,
 *  in rising order: what is not written yet is copied or waited for.
 *  Local. */
zt_status zt_restart_protect(zt_restart_writer *writer, int64_t at, int64_t n);
/** Whether a save is under way; the same on every rank.  Local. */
bool zt_restart_running(const zt_restart_writer *writer);
/** Whether this rank still works on it.  Local. */
bool zt_restart_busy(zt_restart_writer *writer);
/** Take a running save on, once no rank is busy any more.
 *  Collective.
 *  \param[in]  any_busy  zt_restart_busy() of any rank
 *  \return agreed status; after a failure the save is over and nothing of it
 *          is left. */
zt_status zt_restart_advance(zt_restart_writer *writer, bool any_busy,
                             zt_restart_end *end);
/** Wait for the end of a running save.
 *  Collective.  \return agreed status, as zt_restart_advance(). */
zt_status zt_restart_finish(zt_restart_writer *writer, zt_restart_end *end);

/* ---- Reading ---- */

/** A restart whose seal, manifest and layout are verified. */
typedef struct zt_restart {
  zt_comm *comm; /* not owned */
  char *path;
  char name[32]; /* "step-000001234" */
  int64_t step, updates, epoch, position, metrics_bytes;
  int64_t evaluated, best_step; /* as in zt_restart_save */
  double best_loss;
  int ranks;  /* that wrote it */
  int states; /* of its elements: ZT_STATES, or ZT_MASTER alone */
  int64_t numel, statistics; /* of the flat space; its last elements that are
                                statistics */
  uint64_t digest;
  json_t *manifest;
  struct zt_restart_inside *inside;
} zt_restart;

/** Open one and verify all but the data.
 *  Collective.
 *  \param[out] restart  zt_restart_close() it
 *  \param[out] damaged  the failure is a proven mismatch, and not a failed read
 *              or a newer format; may be NULL
 *  \return agreed status: ZT_ERR_NOINPUT, ZT_ERR_DATA, ZT_ERR_IO. */
zt_status zt_restart_open(const char *path, zt_comm *comm, zt_restart **restart,
                          bool *damaged);
/** Agree on a status where *damaged tells a proven mismatch of a checksum, a
 *  seal or a name from other failures.  Proven damage on one rank counts more
 *  than what fails on others, so that all fall back together.
 *  Collective.
 *  \param[in,out] damaged  of this rank, then of any */
zt_status zt_restart_agree(zt_comm *comm, zt_status status, bool *damaged);
/** Sets *restart to NULL; NULL is allowed.  Local. */
void zt_restart_close(zt_restart **restart);
/** Elements begin .. begin + count - 1 of the global flat space, each grid cell
 *  they touch verified.
 *  Local.
 *  \return ZT_ERR_DATA naming part, cell and parameter; ZT_ERR_IO. */
zt_status zt_restart_read(zt_restart *restart, int state, int64_t begin,
                          int64_t count, float *values);
/** Verify all of its data: every grid cell, and the digest of the whole.
 *  Collective; ranks share the cells.
 *  \return agreed status: ZT_ERR_DATA naming the first part, cell and parameter
 *          that is damaged, and how many cells are; ZT_ERR_IO. */
zt_status zt_restart_verify(zt_restart *restart);
/** Elements that are read at once, at most: 4 MiB. */
enum { ZT_RESTART_PIECE = 1 << 20 };

/** Where a shard is read to, called by any thread. */
typedef struct zt_restart_sink {
  /** Memory for the elements from `at` on of the padded shard, which the disk
   *  fills itself if it is page-aligned; NULL: put() takes them from a buffer.
   *  Should the restart be damaged, what is there is undefined. */
  float *(*place)(void *context, int state, int64_t at);
  /** Elements at .. at + n - 1, at most ZT_RESTART_PIECE of one unit's slice,
   *  have been read and verified; never padding.  One call at a time, in no
   *  order.
   *  \param[in] values  [n]: what place() returned, or a buffer */
  zt_status (*put)(void *context, int state, int64_t at, int64_t n,
                   const float *values);
  void *context;
} zt_restart_sink;
/** All that is held of one rank's shard of parameters, verified, as fast as the
 *  disk gives them: several threads read.  Local.
 *  \return as zt_restart_read(), or what put() returned. */
zt_status zt_restart_read_shard(const zt_restart *restart,
                                const zt_params *params, const zt_shard *shard,
                                const zt_restart_sink *sink);
/** The table of its statistics, in one unit, which is empty if it has none.
 *  Local.  \param[in,out] table  empty before */
zt_status zt_restart_statistics(const zt_restart *restart, zt_params *table);
/** Compare its parameters with those of a model: names, shapes, order.  Units
 *  may differ.  Local.  \return ZT_ERR_DATA. */
zt_status zt_restart_check_params(const zt_restart *restart,
                                  const zt_params *params);
/** Master weights and configuration files as a source, for export and
 *  generation.
 *  Collective.
 *  \param[in]  restart  taken over: closed with the source
 *  \param[out] source   zt_source_close() it */
zt_status zt_restart_source(zt_restart **restart, zt_source **source);
/** The restart that a source reads, NULL if it reads something else.  Local. */
zt_restart *zt_restart_of(const zt_source *source);

/* ---- Finding ---- */

/** Names of what stands in RUN/restart, newest first. */
typedef struct zt_restart_list {
  char (*names)[32];
  int count;
  size_t capacity;
} zt_restart_list;

/** Restarts of a directory on rank 0, shared with all.  A missing directory
 *  holds none.
 *  Collective.
 *  \param[out] list  zt_restart_list_free() it */
zt_status zt_restart_find(const char *dir, zt_comm *comm,
                          zt_restart_list *list);
void zt_restart_list_free(zt_restart_list *list);
/** Rename a restart that is proven damaged to NAME.bad (.bad-2, ...).
 *  Local, one rank.  A failure only warns. */
void zt_restart_set_aside(const char *dir, const char *name);
/** Remove what killed processes left and, with a rule, the restarts that it
 *  does not keep.  No save may be under way.
 *  Local, one rank.  Failures only warn.
 *  \param[in] retention  NULL: no restart is removed */
void zt_restart_clean(const char *dir, const zt_retention *retention);

#endif
