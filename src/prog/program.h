/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the four programs share: start, end, --help, --version, subcommands. */
#ifndef ZT_PROG_PROGRAM_H
#define ZT_PROG_PROGRAM_H

#include "base/status.h"
#include "comm/comm.h"

#include <getopt.h>

typedef struct zt_program {
  const char *name; /* "ztconv" */
  const char *help; /* the text of --help, ends with a newline */
  zt_comm *comm;    /* all ranks */
  int exit_code;    /* of a command that ends well but says more than that;
                       the same on every rank */
} zt_program;

/** Start MPI, logging and fault points.  Handles a lone --help or --version,
 *  and then exits.
 *  Collective.  \return agreed status. */
zt_status zt_program_start(zt_program *program, int argc, char **argv);

/** Say the error once, end MPI.
 *  Collective.
 *  \param[in] status  agreed: the same on every rank
 *  \return the exit code for main() */
int zt_program_end(zt_program *program, zt_status status);

/** MPI, HDF5 and the other libraries in use with their versions, on one line.
 *  Local, after the start. */
void zt_program_libraries(char text[256]);

/** getopt_long() whose complaint is an error of ours: '?' never comes back.
 *  Restart parsing with optind = 1.
 *  \param[out] option  as getopt_long() returns it, -1 at the end */
zt_status zt_next_option(int argc, char **argv, const char *short_options,
                         const struct option *long_options, int *option);

/** Exactly or at most these numbers of operands after the options. */
zt_status zt_check_operands(int argc, int least, int most, const char *usage);

/** Print the help of a command, on rank 0.  Local.  \return ZT_OK. */
zt_status zt_command_help(const zt_program *program, const char *text);

typedef struct zt_command {
  const char *name;
  zt_status (*run)(zt_program *program, int argc, char **argv);
} zt_command;

/** Run the command that argv[1] names, with argv + 1.  NULL-name-ended list.
 *  An unknown one is ZT_ERR_USAGE with a suggestion. */
zt_status zt_run_command(zt_program *program, const zt_command *commands,
                         int argc, char **argv);

#endif
