/* SPDX-License-Identifier: BSD-3-Clause */
#include "restart_unit.h"

#include "base/memory.h"
#include "io/direct.h"
#include "io/source.h"
#include "numbers.h"
#include "unit.h"

#include <sys/stat.h>

float held_value(int64_t generation, int state, int64_t flat) {
  /* An exponent in the middle: no NaN, which would not compare. */
  uint64_t bits =
      numbers_bits((uint64_t) (3 * generation + state), (uint64_t) flat);
  uint32_t word = (uint32_t) (bits & 0x807FFFFF) | 127u << 23;
  float value;
  memcpy(&value, &word, sizeof value);
  return value;
}

/* Sizes around a grid cell and around a block, in units of one and of many. */
static void make_params(zt_params *params, int64_t size) {
  static const int64_t tiny[] = {5, 4096, 4097, 1, 12000, 8192, 3, 20480};
  static const int64_t blocks[] = {400001, 4095, 1, 270000, 77, 262144};
  const int64_t large[] = {size / 8, size / 8, size / 8, size / 8,
                           size / 8, size / 8, size / 8, size / 8};
  const int64_t *numel = size == HELD_TINY     ? tiny
                         : size == HELD_BLOCKS ? blocks
                                               : large;
  int count = size == HELD_BLOCKS ? 6 : 8;
  for (int i = 0; i < count; i++) {
    char name[32];
    snprintf(name, sizeof name, "unit.%d", i);
    if (i % 2 == 0)
      ck_zt_ok(zt_params_begin_unit(params, name));
    snprintf(name, sizeof name, "layer.%d.weight", i);
    ck_zt_ok(
        zt_params_add(params, name, 1, &numel[i], true, (zt_init){0}, NULL));
  }
  ck_zt_ok(zt_params_finish(params));
}

void held_create(held *h, zt_comm *comm, const char *dir, int64_t size) {
  *h = (held){.comm = comm,
              .empty = json_object(),
              .retention = {.keep = 1000, .best = -1}};
  snprintf(h->dir, sizeof h->dir, "%s/restart", dir);
  make_params(&h->params, size);
  ck_zt_ok(zt_shard_init(&h->shard, &h->params, comm->size, comm->rank));
  for (int s = 0; s < ZT_STATES; s++)
    h->values[s] = zt_direct_memory((size_t) h->shard.numel * sizeof(float));
}

void held_free(held *h) {
  zt_restart_writer_destroy(&h->writer);
  for (int s = 0; s < ZT_STATES; s++)
    zt_direct_memory_free(h->values[s],
                          (size_t) h->shard.numel * sizeof(float));
  zt_shard_free(&h->shard);
  zt_params_free(&h->params);
  json_decref(h->empty);
}

void held_fill(held *h, int64_t generation) {
  for (int u = 0; u < h->params.n_units; u++) {
    const zt_unit *unit = &h->params.units[u];
    int64_t begin, end;
    zt_shard_range(unit->numel, h->comm->size, h->comm->rank, 1, &begin, &end);
    for (int s = 0; s < ZT_STATES; s++)
      for (int64_t i = begin; i < end; i++)
        h->values[s][h->shard.at[u] + i - begin] =
            held_value(generation, s, unit->start + i);
  }
}

void held_writer(held *h, int ranks_per_part, size_t staging) {
  zt_source none = {.comm = h->comm};
  zt_restart_writer_destroy(&h->writer);
  ck_zt_ok(zt_restart_writer_create(
      h->dir, &h->params, h->empty, &none,
      &(zt_restart_options){.ranks_per_part = ranks_per_part,
                            .staging = staging},
      h->comm, &h->writer));
}

static zt_status read_held(void *context, int state, int64_t at, int64_t n,
                           float *values) {
  const held *h = context;
  zt_copy_past(values, h->values[state] + at, (size_t) n * sizeof *values);
  return ZT_OK;
}

zt_status held_start(held *h, int64_t step) {
  return zt_restart_start(h->writer,
                          &(zt_restart_save){.step = step,
                                             .configuration = h->empty,
                                             .provenance = h->empty,
                                             .retention = h->retention,
                                             .read = read_held,
                                             .context = h});
}

zt_status held_save(held *h, int64_t step, zt_restart_end *end) {
  zt_restart_end unused;
  ZT_TRY(held_start(h, step));
  return zt_restart_finish(h->writer, end ? end : &unused);
}

/* ---- Loading ---- */

/* This rank's share, in pieces that begin and end anywhere. */
static zt_status read_share(zt_restart *r, float *buffer, int64_t most,
                            bool *wrong) {
  int64_t numel = json_integer_value(json_object_get(r->manifest, "numel"));
  int64_t begin = numel * r->comm->rank / r->comm->size;
  int64_t end = numel * (r->comm->rank + 1) / r->comm->size;
  for (int s = 0; s < ZT_STATES; s++)
    for (int64_t at = begin; at < end; at += most) {
      int64_t n = end - at < most ? end - at : most;
      ZT_TRY(zt_restart_read(r, s, at, n, buffer));
      for (int64_t i = 0; i < n; i++)
        *wrong = *wrong || buffer[i] != held_value(r->step, s, at + i);
    }
  return ZT_OK;
}

zt_status held_load(const held *h, const char *name, zt_comm *comm,
                    bool *damaged) {
  enum { PIECE = 99991 };
  char path[PATH_MAX];
  zt_restart *r;
  bool wrong = false;
  snprintf(path, sizeof path, "%.3000s/%s", h->dir, name);
  ZT_TRY(zt_restart_open(path, comm, &r, damaged));
  json_object_set_new(r->manifest, "numel", json_integer(h->params.numel));
  zt_status status = zt_restart_check_params(r, &h->params);
  float *buffer = zt_calloc(PIECE, sizeof *buffer);
  if (status == ZT_OK)
    status = read_share(r, buffer, PIECE, &wrong);
  free(buffer);
  ck_assert_msg(!wrong, "%s: other values than were saved, unnoticed", path);
  *damaged = status == ZT_ERR_DATA;
  status = zt_restart_agree(comm, status, damaged);
  zt_restart_close(&r);
  return status;
}

zt_status held_load_newest(const held *h, zt_comm *comm, int64_t *step) {
  zt_restart_list list;
  zt_status status = ZT_OK;
  *step = -1;
  ZT_TRY(zt_restart_find(h->dir, comm, &list));
  for (int i = 0; i < list.count && *step < 0; i++) {
    bool damaged;
    status = held_load(h, list.names[i], comm, &damaged);
    if (status == ZT_OK)
      *step = atoll(list.names[i] + strlen("step-"));
    else if (!damaged)
      break;
  }
  zt_restart_list_free(&list);
  return status;
}

const char *held_folder(zt_comm *comm, const char *path) {
  static char shared[PATH_MAX];
  snprintf(shared, sizeof shared, "%s", path);
  if (comm->rank == 0)
    ck_assert_int_eq(mkdir(shared, 0777), 0);
  ck_zt_ok(zt_comm_broadcast(comm, shared, sizeof shared, 0));
  return shared;
}
