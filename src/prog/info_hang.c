/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo hang RUNDIR: who kept a run that stood still. */
#include "base/text.h"
#include "comm/agree.h"
#include "prog/info.h"
#include "report/hang.h"

#include <stdbool.h>
#include <stdio.h>

enum { SHOWN = 16 };

static void add_ranks(const zt_hang *hang, bool all, zt_text *text) {
  int shown = 0;
  for (int i = 0; i < hang->size && (all || shown < SHOWN); i++) {
    const zt_hang_rank *r = &hang->ranks[i];
    zt_text_add(text, "\n  rank %d: ", i);
    shown++;
    if (!r->there) {
      zt_text_add(text, "no report");
      continue;
    }
    if (r->moving)
      zt_text_add(text, "moving, ");
    else
      zt_text_add(text, "%.1f s without progress ", r->stood);
    zt_hang_describe(r, text);
  }
  if (shown < hang->size)
    zt_text_add(text, "\n  and %d more (--all)", hang->size - shown);
}

static zt_status report(const char *run_dir, bool all) {
  zt_hang hang;
  zt_text text = {0};
  ZT_TRY(zt_hang_read(run_dir, &hang));
  zt_hang_explain(&hang, &text);
  add_ranks(&hang, all, &text);
  zt_hang_free(&hang);
  zt_status status = ZT_OK;
  if (text.failed)
    status = zt_fail(ZT_ERR_MEMORY, "%s: out of memory", run_dir);
  else if (puts(text.data) < 0 || fflush(stdout) != 0)
    status = zt_fail_errno(ZT_ERR_IO, "standard output: cannot write");
  zt_text_free(&text);
  return status;
}

zt_status zt_info_hang(zt_program *program, int argc, char **argv) {
  static const struct option options[] = {{"all", no_argument, NULL, 'a'},
                                          {NULL, 0, NULL, 0}};
  bool all = false;
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "a", options, &option));
    if (option < 0)
      break;
    all = true;
  }
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztinfo hang [--all] RUNDIR"));
  return zt_agree(program->comm,
                  program->comm->rank == 0 ? report(argv[optind], all) : ZT_OK);
}
