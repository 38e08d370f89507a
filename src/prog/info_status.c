/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo status RUNDIR: how a run stands, for people and job scripts. */
#include "base/text.h"
#include "comm/agree.h"
#include "prog/info.h"
#include "report/runstate.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { EXIT_MORE = 75, EXIT_FAILED = 1 };

/* The file is not ours to trust: no control characters on a terminal. */
static void add_plain(zt_text *text, const char *message) {
  for (; *message; message++) {
    char c =
        (unsigned char) *message < 0x20 || *message == 0x7F ? ' ' : *message;
    zt_text_append(text, &c, 1);
  }
}

void zt_info_add_state(zt_text *text, const char *dir, const zt_runstate *s) {
  zt_text_add(text, "%s: %s", dir, zt_run_name(s->state));
  if (s->state == ZT_RUN_FAILED)
    zt_text_add(text, " with code %d", s->code);
  if (s->state == ZT_RUN_FAILED && s->rank >= 0)
    zt_text_add(text, " on rank %d", s->rank);
  zt_text_add(text, ", step %" PRId64 " of %" PRId64 ", %s%s, %s", s->step,
              s->steps, s->restart ? "restart " : "no restart yet",
              s->restart ? s->restart : "", s->time);
  if (s->best)
    zt_text_add(text, ", best %s", s->best);
  if (s->job) {
    zt_text_add(text, ", job ");
    add_plain(text, s->job);
  }
  if (s->life > 0)
    zt_text_add(text, ", life %d", s->life);
  if (s->message) {
    zt_text_add(text, ": ");
    add_plain(text, s->message);
  }
}

/* The object of the file, with what is not in it filled in and nothing else. */
void zt_info_add_state_json(zt_text *text, const zt_runstate *s) {
  static const char *const keys[] = {"state", "code",  "rank",    "message",
                                     "step",  "steps", "restart", "best",
                                     "time",  "job",   "life"};
  zt_text_append(text, "{", 1);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    json_t *value = json_object_get(s->source, keys[i]);
    zt_text_add(text, "%s\"%s\": ", i ? ", " : "", keys[i]);
    if (json_is_string(value))
      zt_text_add_json(text, json_string_value(value),
                       json_string_length(value));
    else if (json_is_integer(value))
      zt_text_add(text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
      zt_text_add(text, "null");
  }
  zt_text_append(text, "}", 1);
}

/* No status, or none that can be read: that is an answer too. */
static void add_unknown(zt_text *text, const char *dir, const char *why,
                        bool json) {
  if (!json) {
    zt_text_add(text, "%s: unknown: ", dir);
    add_plain(text, why);
    return;
  }
  zt_text_add(text, "{\"state\": \"unknown\", \"message\": ");
  zt_text_add_json(text, why, strlen(why));
  zt_text_append(text, "}", 1);
}

static zt_status check_directory(const char *dir) {
  struct stat st;
  if (stat(dir, &st) != 0)
    return zt_fail_open(dir);
  if (!S_ISDIR(st.st_mode))
    return zt_fail(ZT_ERR_NOINPUT,
                   "%s: not a directory; give the run.dir of the run", dir);
  return ZT_OK;
}

static zt_status report(const char *dir, bool json, int *exit_code) {
  ZT_TRY(check_directory(dir));
  zt_text text = {0};
  zt_runstate state;
  zt_status status = zt_runstate_read(dir, &state);
  if (status == ZT_ERR_NOINPUT || status == ZT_ERR_DATA) {
    add_unknown(&text, dir, zt_last_error(), json);
    *exit_code = EXIT_FAILED;
  } else if (status != ZT_OK) {
    return status;
  } else {
    if (json)
      zt_info_add_state_json(&text, &state);
    else
      zt_info_add_state(&text, dir, &state);
    *exit_code = state.state == ZT_RUN_DONE   ? 0
                 : state.state == ZT_RUN_MORE ? EXIT_MORE
                                              : EXIT_FAILED;
    zt_runstate_free(&state);
  }
  status = ZT_OK;
  if (text.failed)
    status = zt_fail(ZT_ERR_MEMORY, "%s: out of memory", dir);
  else if (puts(text.data) < 0 || fflush(stdout) != 0)
    status = zt_fail_errno(ZT_ERR_IO, "standard output: cannot write");
  zt_text_free(&text);
  return status;
}

zt_status zt_info_status(zt_program *program, int argc, char **argv) {
  static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                          {NULL, 0, NULL, 0}};
  bool json = false;
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "j", options, &option));
    if (option < 0)
      break;
    json = true;
  }
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztinfo status [--json] RUNDIR"));
  int exit_code = 0;
  zt_status status = ZT_OK;
  if (program->comm->rank == 0)
    status = report(argv[optind], json, &exit_code);
  ZT_TRY(zt_agree(program->comm, status));
  ZT_TRY(zt_comm_broadcast(program->comm, &exit_code, sizeof exit_code, 0));
  program->exit_code = exit_code;
  return ZT_OK;
}
