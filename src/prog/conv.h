/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The commands of ztconv.  All are Collective and return an agreed status. */
#ifndef ZT_PROG_CONV_H
#define ZT_PROG_CONV_H

#include "prog/program.h"

/** ztconv import [--force] HF_DIR OUT.h5 */
zt_status zt_conv_import(zt_program *program, int argc, char **argv);
/** ztconv export [--dtype D] [--max-shard-size N] [--force] SRC HF_DIR */
zt_status zt_conv_export(zt_program *program, int argc, char **argv);
/** ztconv init [--seed S] [--dtype D] [--force] CONFIG.json OUT.h5 */
zt_status zt_conv_init(zt_program *program, int argc, char **argv);
/** ztconv verify [--deep] PATH...; exit code of the first that is not intact */
zt_status zt_conv_verify(zt_program *program, int argc, char **argv);
/** ztconv diff [--brief] A B; exit code 1 if they differ */
zt_status zt_conv_diff(zt_program *program, int argc, char **argv);
/** ztconv tokens OUT.h5 IN... */
zt_status zt_conv_tokens(zt_program *program, int argc, char **argv);

#endif
