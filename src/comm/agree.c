/* SPDX-License-Identifier: BSD-3-Clause */
#include "comm/agree.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

zt_status zt_agree(zt_comm *comm, zt_status local) {
  /* The largest value belongs to the lowest failing rank; the code rides in
   * the low byte. */
  int64_t verdict = 0;
  if (local != ZT_OK)
    verdict = (int64_t) (comm->size - comm->rank) << 8 | (int64_t) local;
  ZT_TRY(zt_comm_all_reduce(comm, &verdict, 1, ZT_MAX));
  if (verdict == 0)
    return ZT_OK;
  int root = comm->size - (int) (verdict >> 8);
  char message[ZT_MESSAGE_SIZE] = "";
  if (comm->rank == root && comm->size > 1)
    snprintf(message, sizeof message, "rank %d: %.*s", root,
             (int) sizeof message - 32, zt_last_error());
  else if (comm->rank == root)
    snprintf(message, sizeof message, "%s", zt_last_error());
  ZT_TRY(zt_comm_broadcast(comm, message, sizeof message, root));
  return zt_fail((zt_status) (verdict & 0xFF), "%s", message);
}

static void (*last_words)(int exit_code, const char *message);

void zt_set_last_words(void (*words)(int exit_code, const char *message)) {
  last_words = words;
}

void zt_fatal(zt_comm *comm, zt_status status) {
  enum { SECONDS = 20 }; /* a dead disk or launcher must not hold it up */
  char message[ZT_MESSAGE_SIZE];
  zt_clock_exit_within(SECONDS, zt_status_exit_code(status));
  if (comm->size > 1)
    snprintf(message, sizeof message, "rank %d: %.*s", comm->rank,
             (int) sizeof message - 32, zt_last_error());
  else
    snprintf(message, sizeof message, "%s", zt_last_error());
  zt_error(message);
  if (last_words)
    last_words(zt_status_exit_code(status), message);
  zt_comm_abort(comm, zt_status_exit_code(status));
  abort();
}
