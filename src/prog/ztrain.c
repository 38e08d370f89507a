/* SPDX-License-Identifier: BSD-3-Clause */
/* ztrain: trains under ZeRO-3 from a weights file or its own newest restart. */
#include "base/json.h"
#include "base/memory.h"
#include "base/settings.h"
#include "base/settings_check.h"
#include "base/settings_json.h"
#include "base/settings_print.h"
#include "base/settings_table.h"
#include "base/text.h"
#include "build_id.h"
#include "comm/agree.h"
#include "config.h"
#include "prog/backends.h"
#include "prog/evaluating.h"
#include "prog/launcher.h"
#include "prog/model_files.h"
#include "prog/planning.h"
#include "prog/program.h"
#include "train/trainer.h"
#include "train/watch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: ztrain RUN.cfg [OPTION]...\n"
    "Train a transformer under ZeRO-3 on all MPI ranks: start it with srun or\n"
    "mpiexec.  The same command continues the run from its newest restart.\n"
    "\n"
    "  -s, --set KEY=VALUE     override a key of the configuration\n"
    "      --restart WHAT      auto (the newest one, else start anew), none,\n"
    "                          require, or the path of a restart\n"
    "      --allow-change KEY  let KEY differ from the restart's\n"
    "      --max-hours H       save and stop in good order before H hours\n"
    "      --eval-only         evaluate the newest restart, else "
    "model.weights, "
    "or\n"
    "                          what --restart names, on data.valid; train "
    "nothing\n"
    "      --plan              print memory and traffic of a run, train "
    "nothing\n"
    "      --check             read configuration and inputs, train nothing\n"
    "      --print-config      print the resolved configuration with origins\n"
    "      --explain KEY       type, range, default and meaning of a key, of "
    "a\n"
    "                          group (train), or of all\n"
    "      --list-keys         all keys, one a line\n"
    "  -h, --help  -V, --version\n"
    "\n"
    "Exit codes: 0 done, or stopped with a restart (RUN/STATUS.json tells), "
    "64\n"
    "usage, 65 bad data, 66 no input, 69 device unusable, 71 does not fit, 73\n"
    "cannot create, 74 I/O error, 76 hang, 78 configuration, 79 diverged.\n";

/* Those from EXPLAIN on need no file. */
enum mode {
  TRAIN,
  EVALUATE,
  PLAN,
  CHECK,
  PRINT_CONFIG,
  EXPLAIN,
  LIST_KEYS,
  MAN_KEYS
};

typedef struct options {
  enum mode mode;
  const char *path, *explain;
  const char **overrides, **allow; /* [argc] */
  int n_overrides, n_allow;
  const char *restart;
  double max_hours;
} options;

enum {
  OPT_RESTART = 256,
  OPT_ALLOW,
  OPT_HOURS,
  OPT_EVALUATE,
  OPT_PLAN,
  OPT_CHECK,
  OPT_PRINT,
  OPT_EXPLAIN,
  OPT_LIST,
  OPT_MAN
};

static zt_status read_hours(const char *text, double *hours) {
  char *end;
  *hours = strtod(text, &end);
  if (end == text || *end || !(*hours > 0 && *hours < 1e6))
    return zt_fail(ZT_ERR_USAGE,
                   "--max-hours '%.40s': expected a number of hours above 0",
                   text);
  return ZT_OK;
}

static zt_status take_option(options *o, int option) {
  const zt_setting *row; /* only whether there is one */
  switch (option) {
  case 's':
    o->overrides[o->n_overrides++] = optarg;
    return ZT_OK;
  case OPT_RESTART:
    o->restart = optarg;
    return ZT_OK;
  case OPT_ALLOW:
    o->allow[o->n_allow++] = optarg;
    return zt_setting_lookup(optarg, &row);
  case OPT_HOURS:
    return read_hours(optarg, &o->max_hours);
  case OPT_EVALUATE:
    o->mode = EVALUATE;
    return ZT_OK;
  case OPT_PLAN:
    o->mode = PLAN;
    return ZT_OK;
  case OPT_CHECK:
    o->mode = CHECK;
    return ZT_OK;
  case OPT_PRINT:
    o->mode = PRINT_CONFIG;
    return ZT_OK;
  case OPT_EXPLAIN:
    o->mode = EXPLAIN;
    o->explain = optarg;
    return ZT_OK;
  case OPT_LIST:
    o->mode = LIST_KEYS;
    return ZT_OK;
  case OPT_MAN:
    o->mode = MAN_KEYS;
    return ZT_OK;
  default:
    return zt_fail(ZT_ERR_USAGE, "--help and --version stand alone");
  }
}

static zt_status parse(int argc, char **argv, options *o) {
  static const struct option names[] = {
      {"set", required_argument, NULL, 's'},
      {"restart", required_argument, NULL, OPT_RESTART},
      {"allow-change", required_argument, NULL, OPT_ALLOW},
      {"max-hours", required_argument, NULL, OPT_HOURS},
      {"eval-only", no_argument, NULL, OPT_EVALUATE},
      {"plan", no_argument, NULL, OPT_PLAN},
      {"check", no_argument, NULL, OPT_CHECK},
      {"print-config", no_argument, NULL, OPT_PRINT},
      {"explain", required_argument, NULL, OPT_EXPLAIN},
      {"list-keys", no_argument, NULL, OPT_LIST},
      {"man-keys", no_argument, NULL, OPT_MAN}, /* for the build */
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {NULL, 0, NULL, 0}};
  *o = (options){.restart = "auto",
                 .overrides = zt_calloc((size_t) argc, sizeof(char *)),
                 .allow = zt_calloc((size_t) argc, sizeof(char *))};
  if (!o->overrides || !o->allow)
    return ZT_ERR_MEMORY;
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "s:hV", names, &option));
    if (option < 0)
      break;
    ZT_TRY(take_option(o, option));
  }
  if (o->mode >= EXPLAIN)
    return ZT_OK;
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztrain RUN.cfg [OPTION]..."));
  o->path = argv[optind];
  return ZT_OK;
}

/* The command that goes on with the run, as the user gave it. */
static void describe_command(int argc, char **argv, zt_text *text) {
  for (int i = 0; i < argc; i++)
    zt_text_add(text, i ? " %s" : "%s", argv[i]);
}

static zt_status take_texts(zt_source *source, zt_model *model,
                            zt_tokenizer **tokenizer) {
  ZT_TRY(zt_model_stop_ids(source, model));
  return zt_model_tokenizer(source, model, NULL, tokenizer);
}

static zt_status train(zt_program *program, const options *o,
                       const zt_settings *settings, const char *command) {
  zt_device *dev = NULL;
  char libraries[256];
  zt_comm *host = program->comm, *comm = NULL;
  /* Whoever read what we say may go; log.txt has it too. */
  signal(SIGPIPE, SIG_IGN);
  ZT_TRY(zt_agree(host, zt_check_launcher(host->size)));
  ZT_TRY(zt_open_device(settings->runtime.device, settings->runtime.threads,
                        host, &dev));
  /* The watchdog speaks first: it knows more. */
  zt_status status =
      zt_open_comm(settings->runtime.comm, 2 * settings->run.watchdog_seconds,
                   host, dev, &comm);
  zt_program_libraries(libraries);
  if (status == ZT_OK) {
    comm->chain = settings->zero.carrier == ZT_CARRIER_CHAIN;
    status =
        zt_train(&(zt_train_request){.settings = settings,
                                     .restart = o->restart,
                                     .max_hours = o->max_hours,
                                     .allow = o->allow,
                                     .n_allow = o->n_allow,
                                     .build = PACKAGE_STRING ", " ZT_BUILD_ID,
                                     .libraries = libraries,
                                     .take_texts = take_texts,
                                     .resume_command = command},
                 dev, comm);
  }
  zt_close_comm(host, &comm);
  zt_device_destroy(&dev);
  return status;
}

static zt_status run_mode(zt_program *program, const options *o,
                          const zt_settings *settings, const char *command) {
  switch (o->mode) {
  case PRINT_CONFIG:
    return program->comm->rank == 0 ? zt_settings_print(settings, stdout, true)
                                    : ZT_OK;
  case EVALUATE:
    return zt_evaluate_only(program, settings, o->restart);
  case PLAN:
    return zt_print_plan(program, settings, program->comm->size, false);
  case CHECK:
    return zt_check_inputs(program, settings);
  default:
    return train(program, o, settings, command);
  }
}

static unsigned needs_of(enum mode mode) {
  return mode == PLAN       ? ZT_NEED_TO_PLAN
         : mode == EVALUATE ? ZT_NEED_TO_EVALUATE
                            : ZT_NEED_TO_TRAIN;
}

/* On rank 0: the settings as JSON for the others. */
static zt_status read_on_root(const options *o, zt_settings *settings,
                              char **text) {
  json_t *json;
  ZT_TRY(zt_settings_read(o->path, o->overrides, o->n_overrides, settings));
  if (o->mode != PRINT_CONFIG)
    ZT_TRY(zt_settings_check(settings, needs_of(o->mode)));
  ZT_TRY(zt_settings_to_json(settings, &json));
  *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
  json_decref(json);
  return *text ? ZT_OK : zt_fail(ZT_ERR_MEMORY, "out of memory");
}

static zt_status take_shared(const char *text, size_t size,
                             zt_settings *settings) {
  json_t *json;
  ZT_TRY(zt_json_parse(text, size, "settings", &json));
  zt_status status = zt_settings_from_json(json, settings);
  json_decref(json);
  return status;
}

/* One rank reads the file, so that all run with the same settings. */
static zt_status read_settings(zt_program *program, const options *o,
                               zt_settings *settings) {
  zt_comm *comm = program->comm;
  bool root = comm->rank == 0;
  char *text = NULL;
  zt_status status = root ? read_on_root(o, settings, &text) : ZT_OK;
  int64_t size = text ? (int64_t) strlen(text) : 0;
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = zt_comm_all_reduce(comm, &size, 1, ZT_MAX);
  if (status == ZT_OK && !root)
    text = zt_calloc((size_t) size + 1, 1);
  if (status == ZT_OK)
    status = zt_agree(comm, text ? ZT_OK : ZT_ERR_MEMORY);
  if (status == ZT_OK)
    status = zt_comm_broadcast(comm, text, (size_t) size, 0);
  if (status == ZT_OK)
    status = zt_agree(comm, root ? ZT_OK
                                 : take_shared(text, (size_t) size, settings));
  free(text);
  return status;
}

/* About keys alone, on standard output. */
static zt_status say_keys(const options *o) {
  if (o->mode == EXPLAIN)
    return zt_settings_explain(o->explain, stdout);
  if (o->mode == LIST_KEYS)
    zt_settings_list_keys(stdout);
  else
    zt_settings_man(stdout);
  return ZT_OK;
}

static zt_status run_file(zt_program *program, const options *o, int argc,
                          char **argv) {
  zt_settings settings = {0};
  zt_text command = {0};
  describe_command(argc, argv, &command);
  zt_status status = read_settings(program, o, &settings);
  if (status == ZT_OK)
    status =
        run_mode(program, o, &settings, command.data ? command.data : "ztrain");
  zt_settings_free(&settings);
  zt_text_free(&command);
  return status;
}

static zt_status run(zt_program *program, int argc, char **argv) {
  options o;
  zt_status status = parse(argc, argv, &o);
  if (status == ZT_OK && o.mode >= EXPLAIN && program->comm->rank == 0)
    status = say_keys(&o);
  status = zt_agree(program->comm, status);
  if (status == ZT_OK && o.mode < EXPLAIN)
    status = run_file(program, &o, argc, argv);
  free(o.overrides);
  free(o.allow);
  return status;
}

int main(int argc, char **argv) {
  zt_program program = {.name = "ztrain", .help = help};
  zt_watch_signals();
  zt_status status = zt_program_start(&program, argc, argv);
  if (status == ZT_OK)
    status = run(&program, argc, argv);
  return zt_program_end(&program, status);
}
