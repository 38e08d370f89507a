/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo show, of a run's directory: how it stands, and its restarts. */
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/restart.h"
#include "prog/info.h"
#include "report/runstate.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- The state, by rank 0 ---- */

static void add_state(const char *path, bool json, zt_text *out) {
  zt_runstate state;
  bool known = zt_runstate_read(path, &state) == ZT_OK;
  if (json) {
    zt_text_add(out, "{\"kind\": \"run\", \"path\": ");
    zt_text_add_json(out, path, strlen(path));
    zt_text_add(out, ", \"status\": ");
    if (known)
      zt_info_add_state_json(out, &state);
    else
      zt_text_add(out, "null");
    zt_text_add(out, ", \"restarts\": [");
  } else if (known) {
    zt_info_add_state(out, path, &state);
    zt_text_add(out, "\n");
  } else {
    zt_text_add(out, "%s: a run without a readable " ZT_RUNSTATE_FILE "\n",
                path);
  }
  if (known)
    zt_runstate_free(&state);
}

/* ---- Its restarts ---- */

static void add_restart(const zt_restart *r, bool json, zt_text *out) {
  if (json) {
    zt_text_add(out,
                "{\"name\": \"%s\", \"step\": %" PRId64
                ", \"ranks\": %d, \"parts\": %zu, \"bytes\": %" PRId64
                ", \"digest\": \"%016" PRIx64 "\"}",
                r->name, r->step, r->ranks,
                json_array_size(json_object_get(r->manifest, "parts")),
                zt_info_restart_bytes(r), r->digest);
    return;
  }
  zt_text_add(out, "  %s: ", r->name);
  zt_info_add_made(out, r);
  zt_text_add(out, ", digest %016" PRIx64 "\n", r->digest);
}

static void add_unreadable(const char *name, bool json, zt_text *out) {
  const char *message = zt_last_error();
  if (!json) {
    zt_text_add(out, "  %s: does not load: %s\n", name, message);
    return;
  }
  zt_text_add(out, "{\"name\": \"%s\", \"error\": ", name);
  zt_text_add_json(out, message, strlen(message));
  zt_text_add(out, "}");
}

/* Opening is collective, so all ranks come here. */
static zt_status add_restarts(const char *path, zt_comm *comm, bool json,
                              zt_text *out) {
  char dir[PATH_MAX], name[PATH_MAX];
  zt_restart_list list;
  ZT_TRY(zt_path(dir, "%s/restart", path));
  ZT_TRY(zt_restart_find(dir, comm, &list));
  zt_status status = ZT_OK;
  for (int i = 0; i < list.count && status == ZT_OK; i++) {
    zt_restart *restart;
    status = zt_path(name, "%s/%s", dir, list.names[i]);
    if (status != ZT_OK)
      break;
    if (json && i > 0)
      zt_text_add(out, ", ");
    if (zt_restart_open(name, comm, &restart, NULL) != ZT_OK) {
      add_unreadable(list.names[i], json, out);
      continue;
    }
    add_restart(restart, json, out);
    zt_restart_close(&restart);
  }
  if (list.count == 0 && !json)
    zt_text_add(out, "  no restarts\n");
  zt_restart_list_free(&list);
  return status;
}

zt_status zt_info_show_run(zt_program *program, const char *path, bool json) {
  zt_comm *comm = program->comm;
  zt_text out = {0};
  if (comm->rank == 0)
    add_state(path, json, &out);
  zt_status status = add_restarts(path, comm, json, &out);
  if (json)
    zt_text_add(&out, "]}\n");
  if (status == ZT_OK && out.failed)
    status = zt_fail(ZT_ERR_MEMORY, "%s: out of memory", path);
  else if (status == ZT_OK && comm->rank == 0 &&
           (fputs(out.data, stdout) < 0 || fflush(stdout) != 0))
    status = zt_fail_errno(ZT_ERR_IO, "standard output: cannot write");
  zt_text_free(&out);
  return zt_agree(comm, status);
}
