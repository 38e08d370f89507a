/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/program.h"

#include "base/log.h"
#include "base/text.h"
#include "build_id.h"
#include "comm/agree.h"
#include "comm/comm_mpi.h"
#include "config.h"
#include "device/device_cpu.h"
#include "prog/backends.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <jansson.h>
#include <libconfig.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* The first words of what MPI says of itself, on one line. */
static void name_mpi(char mpi[MPI_MAX_LIBRARY_VERSION_STRING]) {
  int length;
  memset(mpi, 0, MPI_MAX_LIBRARY_VERSION_STRING);
  MPI_Get_library_version(mpi, &length);
  mpi[strcspn(mpi, "\n,")] = '\0';
  for (char *c = mpi; *c; c++)
    if (*c == '\t')
      *c = ' ';
}

void zt_program_libraries(char text[256]) {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
  unsigned major = 0, minor = 0, release = 0, xxhash = XXH_versionNumber();
  name_mpi(mpi);
  H5get_libversion(&major, &minor, &release);
  snprintf(text, 256,
           "%.80s, HDF5 %u.%u.%u, libconfig %d.%d.%d, jansson %s, "
           "xxhash %u.%u.%u",
           mpi, major, minor, release, LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR,
           LIBCONFIG_VER_REVISION, JANSSON_VERSION, xxhash / 10000,
           xxhash / 100 % 100, xxhash % 100);
}

static void print_version(const char *name) {
  char backends[64];
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
  unsigned major = 0, minor = 0, release = 0;
  name_mpi(mpi);
  zt_backends_text(backends);
  H5get_libversion(&major, &minor, &release);
  char kernels[96];
  zt_device_cpu_kernels(kernels);
  printf("%s (%s) %s\n", name, PACKAGE_NAME, PACKAGE_VERSION);
  printf("source:    %s\n", ZT_BUILD_ID);
  printf("compiler:  %s (%s)\n", ZT_BUILD_CC, __VERSION__);
  printf("flags:     %s\n", ZT_BUILD_CFLAGS);
  printf("MPI:       %s\n", mpi);
  printf("HDF5:      %u.%u.%u (built with %d.%d.%d)\n", major, minor, release,
         H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE);
  printf("libconfig: %d.%d.%d\n", LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR,
         LIBCONFIG_VER_REVISION);
  printf("jansson:   %s, xxhash: %u\n", JANSSON_VERSION, XXH_versionNumber());
  printf("kernels:   %s\n", kernels);
  printf("devices:   %s\n", backends);
  printf("licence:   BSD-3-Clause\n");
}

/* A rank that dies takes its memory along, and UCX calls abort() in those that
 * were reading it.  The launcher is about to end them anyway; a crash of theirs
 * would only hide the code of the one that knows why. */
static void await_launcher(int number) {
  (void) number;
  sleep(2);
}

static void soften_abort(void) {
  struct sigaction action = {.sa_handler = await_launcher,
                             .sa_flags = (int) SA_RESETHAND};
  sigemptyset(&action.sa_mask);
  sigaction(SIGABRT, &action, NULL);
}

/* MPICH takes SIGUSR1 for news of a dead rank, and asks the launcher; where
 * there is none that hangs.  What was set before stays. */
static bool start_mpi(int *argc, char ***argv) {
  struct sigaction before;
  int provided;
  sigaction(SIGUSR1, NULL, &before);
  bool started = MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided) ==
                 MPI_SUCCESS;
  sigaction(SIGUSR1, &before, NULL);
  return started;
}

/* The number of a standard stream that is closed would go to the next file
 * that is opened, which messages would then be written into.  What takes its
 * place answers as the closed one would. */
static void hold_streams(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0)
      (void) !open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

zt_status zt_program_start(zt_program *program, int argc, char **argv) {
  hold_streams();
  zt_log_start(program->name, 0, 1);
  /* UCX reads it when it is loaded: in time if the next line starts anew. */
  setenv("UCX_HANDLE_ERRORS", "none", 0);
  zt_device_cpu_prepare(argv);
  /* HDF5 would close open files on exit(), which MPI_Abort() calls on every
   * rank; closing is collective, and ranks that die do not take part. */
  H5dont_atexit();
  soften_abort();
  if (!start_mpi(&argc, &argv))
    return zt_fail(ZT_ERR_UNAVAILABLE, "MPI does not start");
  zt_status status = zt_comm_mpi_create(MPI_COMM_WORLD, &program->comm);
  if (status != ZT_OK)
    return status;
  zt_log_start(program->name, program->comm->rank, program->comm->size);
  /* Plug-ins would be code that a file or the environment brings in. */
  setenv("HDF5_PLUGIN_PRELOAD", "::", 1);
  if (argc == 2 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V") ||
                    !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
    if (program->comm->rank == 0) {
      if (strchr(argv[1], 'v') || strchr(argv[1], 'V'))
        print_version(program->name);
      else
        fputs(program->help, stdout);
    }
    exit(zt_program_end(program, ZT_OK));
  }
  return zt_agree(program->comm, zt_fault_arm(program->comm->rank));
}

/* What was printed and did not arrive is an error of its own. */
static zt_status finish_output(void) {
  errno = 0;
  if (fflush(stdout) == 0 && !ferror(stdout))
    return ZT_OK;
  return errno ? zt_fail_errno(ZT_ERR_IO, "standard output: cannot write")
               : zt_fail(ZT_ERR_IO, "standard output: cannot write");
}

int zt_program_end(zt_program *program, zt_status status) {
  int initialized = 0;
  if (status == ZT_OK)
    status = finish_output();
  if (status != ZT_OK && (!program->comm || program->comm->rank == 0))
    zt_error(zt_last_error());
  zt_log_close();
  zt_comm_destroy(&program->comm);
  MPI_Initialized(&initialized);
  if (initialized)
    MPI_Finalize();
  return status == ZT_OK ? program->exit_code : zt_status_exit_code(status);
}

zt_status zt_next_option(int argc, char **argv, const char *short_options,
                         const struct option *long_options, int *option) {
  opterr = 0;
  *option = getopt_long(argc, argv, short_options, long_options, NULL);
  if (*option != '?' && *option != ':')
    return ZT_OK;
  /* getopt has moved operands behind the option, and gone past a long one. */
  const char letter[] = {'-', (char) optopt, '\0'};
  const char *word = optopt ? letter : argv[optind - 1];
  if (optopt && strchr(short_options, optopt))
    return zt_fail(ZT_ERR_USAGE, "option -%c needs a value (see --help)",
                   optopt);
  for (const struct option *o = long_options; o->name; o++)
    if (optopt && o->val == optopt)
      return zt_fail(ZT_ERR_USAGE,
                     o->has_arg ? "option --%s needs a value (see --help)"
                                : "option --%s takes no value (see --help)",
                     o->name);
  const char *best = NULL;
  int least = 4;
  for (const struct option *o = long_options; o->name; o++) {
    int distance = zt_edit_distance(word + strspn(word, "-"), o->name);
    if (distance < least) {
      least = distance;
      best = o->name;
    }
  }
  if (best)
    return zt_fail(ZT_ERR_USAGE,
                   "unknown option '%.60s'; did you mean --%s? (see --help)",
                   word, best);
  return zt_fail(ZT_ERR_USAGE, "unknown option '%.60s' (see --help)", word);
}

zt_status zt_check_operands(int argc, int least, int most, const char *usage) {
  int given = argc - optind;
  if (given >= least && given <= most)
    return ZT_OK;
  return zt_fail(ZT_ERR_USAGE, "too %s operands; usage: %s",
                 given < least ? "few" : "many", usage);
}

zt_status zt_command_help(const zt_program *program, const char *text) {
  if (program->comm->rank == 0)
    fputs(text, stdout);
  return ZT_OK;
}

zt_status zt_run_command(zt_program *program, const zt_command *commands,
                         int argc, char **argv) {
  if (argc < 2)
    return zt_fail(ZT_ERR_USAGE, "which command? (see --help)");
  const char *best = NULL;
  int least = 4;
  for (const zt_command *c = commands; c->name; c++) {
    if (!strcmp(argv[1], c->name)) {
      optind = 1;
      return c->run(program, argc - 1, argv + 1);
    }
    int distance = zt_edit_distance(argv[1], c->name);
    if (distance < least) {
      least = distance;
      best = c->name;
    }
  }
  if (best)
    return zt_fail(ZT_ERR_USAGE, "unknown command '%.60s'; did you mean %s?",
                   argv[1], best);
  return zt_fail(ZT_ERR_USAGE, "unknown command '%.60s' (see --help)", argv[1]);
}
