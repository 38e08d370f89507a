/* SPDX-License-Identifier: BSD-3-Clause */
/* A save from its start on the main thread to its end, a phase at a time. */
#include "base/beat.h"
#include "base/clock.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/digest.h"
#include "io/output.h"
#include "io/restart_skeleton.h"
#include "io/restart_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Start ---- */

static zt_status make_temporary(zt_restart_writer *w) {
  zt_restart_remove(w->temporary);
  if (mkdir(w->temporary, 0777) != 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot make the directory",
                         w->temporary);
  return ZT_OK;
}

/* The leader makes the file, with room for all of it: a full disk shows here,
 * not in the middle of the save. */
static zt_status create_part(const zt_restart_writer *w) {
  char path[PATH_MAX];
  const zt_part *part = &w->parts[w->mine];
  if (w->comm->rank != part->first)
    return ZT_OK;
  ZT_TRY(zt_restart_part_path(w, path));
  zt_output out = {.temporary = path,
                   .fd = zt_open(path, O_RDWR | O_CREAT | O_EXCL)};
  if (out.fd < 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", path);
  zt_status status = zt_output_reserve(&out, part->bytes);
  if (status == ZT_OK)
    status = zt_write_at(out.fd, path, w->front, (size_t) part->checksums, 0);
  if (close(out.fd) != 0 && status == ZT_OK)
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot write", path);
  return status;
}

/* After a failure on all ranks: nothing of the save is left. */
static zt_status give_up(zt_restart_writer *w, zt_status status) {
  char message[ZT_MESSAGE_SIZE];
  snprintf(message, sizeof message, "%s", zt_last_error());
  w->phase = ZT_JOB_NONE;
  if (w->comm->rank == 0)
    zt_restart_remove(w->temporary);
  return zt_fail(status, "%s", message);
}

zt_status zt_restart_start(zt_restart_writer *writer,
                           const zt_restart_save *save) {
  zt_restart_writer *w = writer;
  if (w->phase != ZT_JOB_NONE)
    return zt_fail(ZT_ERR_INTERNAL, "a restart is being written already");
  w->began = zt_clock_ns();
  w->stall = 0;
  zt_beat("waiting for the thread that writes");
  zt_writer_wait(w); /* it may still measure or clean */
  zt_beat("making the files of a restart");
  w->save = *save;
  w->digest = 0;
  memset(w->tables, 0, (size_t) w->n_parts * sizeof *w->tables);
  zt_status status =
      zt_path(w->final, "%s/step-%09" PRId64, w->dir, save->step);
  if (status == ZT_OK)
    status = zt_path(w->temporary, "%s.tmp", w->final);
  if (status == ZT_OK)
    status = zt_fault_check(ZT_FAULT_RESTART_LAYOUT);
  if (status == ZT_OK && w->comm->rank == 0)
    status = make_temporary(w);
  status = zt_agree(w->comm, status);
  if (status == ZT_OK)
    status = zt_agree(w->comm, create_part(w));
  if (status != ZT_OK)
    return give_up(w, status);
  zt_blocks_begin(w);
  w->phase = ZT_JOB_WRITE;
  zt_writer_post(w, ZT_JOB_WRITE);
  status = zt_agree(w->comm, zt_blocks_stage_all(w));
  if (status != ZT_OK) {
    zt_writer_wait(w);
    return give_up(w, zt_agree(w->comm, status));
  }
  w->stall = zt_clock_ns() - w->began;
  return ZT_OK;
}

/* ---- Phases ---- */

/* All blocks of all ranks are on disk, or somebody failed. */
static zt_status end_writing(zt_restart_writer *w) {
  ZT_TRY(zt_agree(w->comm, zt_writer_join(w)));
  ZT_TRY(
      zt_comm_all_reduce(w->comm, (int64_t *) w->tables, w->n_parts, ZT_SUM));
  int64_t sums[2] = {(int64_t) w->digest, (int64_t) w->raw_rate};
  ZT_TRY(zt_comm_all_reduce(w->comm, sums, 2, ZT_SUM));
  w->digest = (uint64_t) sums[0];
  w->raw_sum = sums[1];
  w->writing = w->job_ns;
  ZT_TRY(zt_comm_all_reduce(w->comm, &w->writing, 1, ZT_MAX));
  char text[32];
  snprintf(text, sizeof text, "step=%" PRId64, w->save.step);
  w->digest += zt_digest_text(text);
  free(w->manifest);
  w->manifest = NULL;
  ZT_TRY(zt_agree(w->comm, w->comm->rank == 0
                               ? zt_restart_manifest(w, &w->manifest)
                               : zt_fault_check(ZT_FAULT_RESTART_SEAL)));
  w->phase = ZT_JOB_COMMIT;
  if (w->comm->rank == 0)
    zt_writer_post(w, ZT_JOB_COMMIT);
  return ZT_OK;
}

static zt_status end_commit(zt_restart_writer *w, zt_restart_end *end) {
  ZT_TRY(zt_agree(w->comm, w->comm->rank == 0 ? zt_writer_join(w) : ZT_OK));
  w->phase = ZT_JOB_NONE;
  *end = (zt_restart_end){
      .committed = true,
      .step = w->save.step,
      .digest = w->digest,
      .seconds = 1e-9 * (double) (zt_clock_ns() - w->began),
      .writing = 1e-9 * (double) (w->writing + (w->comm->rank ? 0 : w->job_ns)),
      .raw_rate = (double) w->raw_sum};
  for (int i = 0; i < w->n_parts; i++)
    end->bytes += w->parts[i].bytes;
  if (w->comm->rank == 0)
    zt_writer_post(w, ZT_JOB_CLEAN);
  return ZT_OK;
}

bool zt_restart_running(const zt_restart_writer *writer) {
  return writer->phase != ZT_JOB_NONE;
}

bool zt_restart_busy(zt_restart_writer *writer) {
  return writer->phase != ZT_JOB_NONE && zt_writer_busy(writer);
}

zt_status zt_restart_advance(zt_restart_writer *writer, bool any_busy,
                             zt_restart_end *end) {
  *end = (zt_restart_end){0};
  if (any_busy || writer->phase == ZT_JOB_NONE)
    return ZT_OK;
  int64_t began = zt_clock_ns();
  zt_status status = writer->phase == ZT_JOB_WRITE ? end_writing(writer)
                                                   : end_commit(writer, end);
  writer->stall += zt_clock_ns() - began;
  end->stall = 1e-9 * (double) writer->stall;
  return status == ZT_OK ? ZT_OK : give_up(writer, status);
}

/* What a rank saw when it last asked the others. */
typedef struct view {
  uint64_t worked; /* signs of its writing threads */
  bool busy;
} view;

/* Whether any rank still writes.  Asking is no progress; what any of them has
 * written since is. */
static zt_status ask_all(zt_restart_writer *w, view *last, bool *any_busy) {
  view now = {.worked = zt_beat_worked(), .busy = zt_restart_busy(w)};
  if (now.busy && !last->busy)
    zt_beat("writing a restart");
  else if (!now.busy && last->busy)
    zt_beat_call("the end of a save", ZT_BEAT_WAIT, 0, false);
  int64_t state[] = {now.busy, now.worked != last->worked};
  *last = now;
  zt_beat_hold(true);
  zt_status status = zt_comm_all_reduce(w->comm, state, 2, ZT_MAX);
  zt_beat_hold(false);
  *any_busy = state[0];
  if (state[1])
    zt_beat_alive();
  return status;
}

zt_status zt_restart_finish(zt_restart_writer *writer, zt_restart_end *end) {
  int64_t began = zt_clock_ns(), stall = writer->stall;
  view last = {.busy = !zt_restart_busy(writer)};
  *end = (zt_restart_end){0};
  while (writer->phase != ZT_JOB_NONE) {
    bool busy;
    ZT_TRY(ask_all(writer, &last, &busy));
    if (busy)
      nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    ZT_TRY(zt_restart_advance(writer, busy, end));
  }
  /* All of this was waiting. */
  end->stall = 1e-9 * (double) (stall + zt_clock_ns() - began);
  if (end->stall > end->seconds)
    end->stall = end->seconds;
  return ZT_OK;
}
