/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo iobench: how fast a directory takes and gives bytes. */
#include "base/clock.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/raw_rate.h"
#include "prog/info.h"

#include <stdio.h>
#include <stdlib.h>

static const char help_text[] =
    "Usage: ztinfo iobench [--bytes SIZE] [--json] DIR\n"
    "Write and read one file a rank in DIR, all ranks at the same time, past\n"
    "the page cache where the file system takes that, and say how fast it "
    "went.\n"
    "The files have no names and are gone at the end.  This is the raw rate\n"
    "that ztrain compares its saves with.\n"
    "\n"
    "  --bytes SIZE  of each rank (default 1GiB)\n"
    "  --json        one JSON object\n";

enum { BUFFER = 8 << 20 };

typedef struct options {
  const char *dir;
  size_t bytes; /* of each rank */
  bool json, help;
} options;

/* What all ranks did together. */
typedef struct rates {
  double write, read; /* bytes a second */
  bool direct;
} rates;

static zt_status parse(int argc, char **argv, options *o) {
  static const struct option names[] = {{"bytes", required_argument, NULL, 'b'},
                                        {"json", no_argument, NULL, 'j'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};
  *o = (options){.bytes = (size_t) 1 << 30};
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "h", names, &option));
    if (option < 0)
      break;
    if (option == 'b' && (!zt_parse_bytes(optarg, &o->bytes) || !o->bytes ||
                          o->bytes > (size_t) 1 << 44))
      return zt_fail(ZT_ERR_USAGE, "--bytes '%.40s': expected a size, as 4GiB",
                     optarg);
    o->json = o->json || option == 'j';
    o->help = o->help || option == 'h';
  }
  if (o->help)
    return ZT_OK;
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztinfo iobench [--bytes SIZE] DIR"));
  o->dir = argv[optind];
  return ZT_OK;
}

/* All begin together and the last one ends it. */
static zt_status timed(zt_comm *comm, zt_raw_file *raw,
                       zt_status (*run)(zt_raw_file *, double *),
                       double *rate) {
  double own;
  ZT_TRY(zt_agree(comm, ZT_OK));
  int64_t began = zt_clock_ns();
  ZT_TRY(zt_agree(comm, run(raw, &own)));
  double seconds = 1e-9 * (double) (zt_clock_ns() - began);
  *rate = (double) raw->bytes * comm->size / seconds;
  return ZT_OK;
}

static zt_status measure(zt_comm *comm, const options *o, rates *r) {
  zt_raw_file raw;
  char *buffer = zt_direct_memory(BUFFER);
  zt_status status =
      buffer ? zt_raw_begin(&raw, o->dir, comm->rank, (int64_t) o->bytes,
                            buffer, BUFFER)
             : zt_fail(ZT_ERR_MEMORY, "out of memory (%d bytes)", BUFFER);
  bool begun = status == ZT_OK;
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = timed(comm, &raw, zt_raw_write, &r->write);
  if (status == ZT_OK)
    status = timed(comm, &raw, zt_raw_read, &r->read);
  int64_t cached = begun && !zt_direct_works(&raw.file);
  if (status == ZT_OK)
    status = zt_comm_all_reduce(comm, &cached, 1, ZT_MAX);
  r->direct = !cached;
  if (begun)
    zt_raw_end(&raw);
  zt_direct_memory_free(buffer, BUFFER);
  return status;
}

static void say(const zt_comm *comm, const options *o, const rates *r) {
  char size[32];
  if (o->json)
    printf("{\"ranks\": %d, \"bytes\": %zu, \"direct\": %s, "
           "\"write_gb_per_second\": %.6g, \"read_gb_per_second\": %.6g}\n",
           comm->size, o->bytes, r->direct ? "true" : "false", 1e-9 * r->write,
           1e-9 * r->read);
  else
    printf("%s: %d rank%s, %s each, %s the page cache\n"
           "write  %8.2f GB/s\n"
           "read   %8.2f GB/s\n",
           o->dir, comm->size, comm->size > 1 ? "s" : "",
           zt_human_bytes((double) o->bytes, size),
           r->direct ? "past" : "through", 1e-9 * r->write, 1e-9 * r->read);
}

zt_status zt_info_iobench(zt_program *program, int argc, char **argv) {
  options o;
  rates r;
  zt_comm *comm = program->comm;
  ZT_TRY(zt_agree(comm, parse(argc, argv, &o)));
  if (o.help)
    return zt_command_help(program, help_text);
  ZT_TRY(measure(comm, &o, &r));
  if (comm->rank == 0)
    say(comm, &o, &r);
  return ZT_OK;
}
