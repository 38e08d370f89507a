/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/placement.h"

#include "report/runstate.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The widest mask asked for; a machine with more cores is not looked at. */
enum { MOST_CORES = 8192 };

static bool has(const cpu_set_t *set, int core) {
  return core < MOST_CORES &&
         CPU_ISSET_S((size_t) core, CPU_ALLOC_SIZE(MOST_CORES), set);
}

/* "0-3,8"; what does not fit ends in "...". */
static void list_cores(const cpu_set_t *set, char *text, size_t size) {
  size_t used = 0;
  text[0] = '\0';
  for (int first = 0; first < MOST_CORES; first++) {
    int last = first;
    if (!has(set, first))
      continue;
    while (has(set, last + 1))
      last++;
    int n =
        snprintf(text + used, size - used, last > first ? "%s%d-%d" : "%s%d",
                 used ? "," : "", first, last);
    if (n < 0 || used + (size_t) n + 4 > size) {
      snprintf(text + used, size - used, "...");
      return;
    }
    used += (size_t) n;
    first = last;
  }
}

static int64_t take_cores(char *text, size_t size) {
  cpu_set_t *set = CPU_ALLOC(MOST_CORES);
  size_t bytes = CPU_ALLOC_SIZE(MOST_CORES);
  int64_t count = 0;
  snprintf(text, size, "unknown");
  if (set && sched_getaffinity(0, bytes, set) == 0) {
    list_cores(set, text, size);
    count = CPU_COUNT_S(bytes, set);
  }
  CPU_FREE(set);
  return count;
}

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

zt_status zt_placement_take(zt_comm *comm, zt_placement *p) {
  int ranks;
  bool leads = zt_comm_local_rank(comm, &ranks) == 0;
  *p = (zt_placement){.job = variable("SLURM_JOB_ID"),
                      .node_list = variable("SLURM_JOB_NODELIST"),
                      .life = zt_run_life()};
  gethostname(p->host, sizeof p->host - 1);
  int64_t cores = take_cores(p->cores, sizeof p->cores);
  int64_t most[] = {ranks, -ranks, cores, -cores}, nodes = leads;
  ZT_TRY(zt_comm_all_reduce(comm, most, 4, ZT_MAX));
  ZT_TRY(zt_comm_all_reduce(comm, &nodes, 1, ZT_SUM));
  p->nodes = nodes;
  p->most_ranks = most[0];
  p->least_ranks = -most[1];
  p->most_cores = most[2];
  p->least_cores = -most[3];
  return ZT_OK;
}

static void add_range(zt_text *text, int64_t least, int64_t most) {
  zt_text_add(text, "%" PRId64, least);
  if (most > least)
    zt_text_add(text, " to %" PRId64, most);
}

void zt_placement_format(const zt_placement *p, int ranks, zt_text *text) {
  if (p->job[0])
    zt_text_add(text, "job %.40s%s%.200s%s, life %" PRId64 "; ", p->job,
                p->node_list[0] ? " (" : "", p->node_list,
                p->node_list[0] ? ")" : "", p->life);
  zt_text_add(text, "%d rank%s on %" PRId64 " node%s", ranks,
              ranks > 1 ? "s" : "", p->nodes, p->nodes > 1 ? "s" : "");
  if (p->nodes > 1) {
    zt_text_add(text, ", ");
    add_range(text, p->least_ranks, p->most_ranks);
    zt_text_add(text, " a node");
  }
  zt_text_add(text, "; ");
  add_range(text, p->least_cores, p->most_cores);
  zt_text_add(text, " core%s a rank; rank 0 on %s, cores %s",
              p->most_cores > 1 ? "s" : "", p->host, p->cores);
}
