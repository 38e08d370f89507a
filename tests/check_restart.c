/* SPDX-License-Identifier: BSD-3-Clause */
/* Saves beside a run: what is saved, what stays, what is told from what. */
#include "base/json.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/format.h"
#include "io/restart_writer.h"
#include "mpi_unit.h"
#include "numbers.h"
#include "restart_unit.h"
#include "scratch.h"

#include <math.h>
#include <sys/stat.h>

static held h;

static void open_held(const char *name, int size) {
  held_create(&h, comm, held_folder(comm, scratch_path(name)), size);
}

static bool stands(const char *name) {
  char path[PATH_MAX];
  int64_t there = 0;
  if (comm->rank == 0) {
    ck_zt_ok(zt_path(path, "%s/%s", h.dir, name));
    there = access(path, F_OK) == 0;
  }
  ck_zt_ok(zt_comm_all_reduce(comm, &there, 1, ZT_MAX));
  return there != 0;
}

static void check_load(const char *name) {
  bool damaged;
  ck_zt_ok(held_load(&h, name, comm, &damaged));
  ck_zt_ok(held_load(&h, name, alone, &damaged));
}

/* ---- State that changes while it is being written ---- */

enum { BLOCK_BYTES = ZT_BLOCK_CELLS * ZT_STATES * ZT_CELL_BYTES };

/* The optimizer of a run: it asks, then changes, here to what would show. */
static void poison(int64_t at, int64_t n) {
  ck_zt_ok(zt_restart_protect(h.writer, at, n));
  for (int s = 0; s < ZT_STATES; s++)
    memset(h.values[s] + at, 0xFF, (size_t) n * sizeof(float));
}

/* In pieces whose edges are those of the blocks, and around them. */
static void poison_all(int64_t piece, int64_t shift) {
  int64_t numel = h.shard.numel;
  for (int64_t at = 0, end; at < numel; at = end) {
    end = ((at - shift) / piece + 1) * piece + shift;
    if (end > numel)
      end = numel;
    poison(at, end - at);
  }
}

START_TEST(nothing_of_the_next_step) {
  enum { BLOCK = ZT_BLOCK_CELLS * ZT_GRID };
  static const struct {
    int64_t piece, shift;
  } pieces[] = {{BLOCK, 0}, {BLOCK, 1},      {BLOCK, -1},
                {1999, 0},  {3 * BLOCK, -1}, {1 << 30, 0}};
  static const size_t staging[] = {
      0, 3 * BLOCK_BYTES, (ZT_HANDS + 1) * BLOCK_BYTES,
      (ZT_HANDS + 2) * BLOCK_BYTES, (size_t) 1 << 30};
  zt_restart_end end;
  open_held("poison", HELD_BLOCKS);
  h.retention.keep = 1;
  int64_t step = 0;
  for (size_t s = 0; s < sizeof staging / sizeof *staging; s++) {
    held_writer(&h, comm->size > 2 ? 2 : 0, staging[s]);
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
      char name[32];
      if (!numbers_long() && p % 3 != s % 3)
        continue;
      held_fill(&h, ++step);
      ck_zt_ok(held_start(&h, step));
      if (step % 2) /* the writer is well under way */
        usleep((useconds_t) (numbers_bits(5, (uint64_t) step) % 4000));
      poison_all(pieces[p].piece, pieces[p].shift);
      ck_zt_ok(zt_restart_finish(h.writer, &end));
      ck_assert(end.committed && end.step == step && end.stall <= end.seconds);
      snprintf(name, sizeof name, "step-%09d", (int) step);
      check_load(name);
    }
  }
  held_free(&h);
}
END_TEST

/* What a plan counts is what is taken, on the first rank. */
START_TEST(planned_memory) {
  static const size_t staging[] = {
      0, 3 * BLOCK_BYTES, (ZT_HANDS + 1) * BLOCK_BYTES, (size_t) 1 << 30};
  open_held("plan", HELD_BLOCKS);
  for (size_t s = 0; s < sizeof staging / sizeof *staging; s++) {
    size_t planned = zt_restart_writer_bytes(
        &h.params, comm->size, &(zt_restart_options){.staging = staging[s]}, 0);
    held_writer(&h, 0, staging[s]);
    const zt_restart_writer *w = h.writer;
    ck_assert(w->slots.all || staging[s] < BLOCK_BYTES ||
              w->slots.bytes + zt_buffers_bytes(&w->slots) <= staging[s]);
    size_t taken = w->slots.bytes + zt_buffers_bytes(&w->slots) +
                   (size_t) w->cells * ZT_STATES * sizeof(uint64_t) +
                   (size_t) w->parts[w->mine].checksums;
    ck_assert_msg(taken <= planned && (comm->rank || planned - taken < 1 << 17),
                  "rank %d: %zu bytes planned, %zu taken", comm->rank, planned,
                  taken);
  }
  held_free(&h);
}
END_TEST

/* ---- Parts ---- */

START_TEST(any_ranks_and_parts) {
  zt_restart_end end;
  open_held("parts", HELD_TINY);
  for (int per_part = 0; per_part <= 3; per_part++) {
    char name[32];
    held_writer(&h, per_part, 1 << 20);
    held_fill(&h, per_part + 1);
    ck_zt_ok(held_save(&h, per_part + 1, &end));
    ck_assert_int_gt(end.bytes, 12 * h.params.numel);
    snprintf(name, sizeof name, "step-%09d", per_part + 1);
    check_load(name);
  }
  held_free(&h);
}
END_TEST

/* ---- A whole shard ---- */

/* Reads this rank's shard; padding and what nobody asked for stay as they
 * were. */
typedef struct reader {
  float *values[ZT_STATES];
  bool placed; /* read to where it belongs, or handed over in a buffer */
  int64_t n;
} reader;

static float *place(void *context, int state, int64_t at) {
  const reader *r = context;
  return r->placed ? r->values[state] + at : NULL;
}

static zt_status take(void *context, int state, int64_t at, int64_t n,
                      const float *values) {
  reader *r = context;
  float *to = r->values[state] + at;
  ck_assert_int_le(n, ZT_RESTART_PIECE);
  ck_assert_int_eq(values == to, r->placed);
  if (!r->placed)
    memcpy(to, values, (size_t) n * sizeof *values);
  r->n += n;
  return ZT_OK;
}

static void check_shard(zt_restart *restart, bool placed) {
  const size_t bytes = (size_t) h.shard.numel * sizeof(float);
  reader r = {.placed = placed};
  int64_t n = 0;
  for (int s = 0; s < ZT_STATES; s++) {
    r.values[s] = zt_direct_memory(bytes);
    memset(r.values[s], 0xFF, bytes);
  }
  ck_zt_ok(zt_restart_read_shard(
      restart, &h.params, &h.shard,
      &(zt_restart_sink){.place = place, .put = take, .context = &r}));
  for (int u = 0; u < h.params.n_units; u++) {
    int64_t begin, end, padded = h.shard.at[u] + h.shard.slice[u];
    zt_shard_range(h.params.units[u].numel, comm->size, comm->rank, 1, &begin,
                   &end);
    int64_t at = h.shard.at[u], stop = at + end - begin;
    for (int s = 0; s < ZT_STATES; s++) {
      ck_assert_mem_eq(r.values[s] + at, h.values[s] + at,
                       (size_t) (stop - at) * sizeof(float));
      for (int64_t i = stop; i < padded; i++)
        ck_assert(isnan(r.values[s][i]));
    }
    n += ZT_STATES * (end - begin);
  }
  ck_assert_int_eq(r.n, n);
  for (int s = 0; s < ZT_STATES; s++)
    zt_direct_memory_free(r.values[s], bytes);
}

START_TEST(a_whole_shard) {
  char path[PATH_MAX];
  zt_restart *restart;
  open_held("shard", HELD_BLOCKS);
  held_writer(&h, 0, 0);
  held_fill(&h, 3);
  ck_zt_ok(held_save(&h, 3, NULL));
  ck_zt_ok(zt_path(path, "%s/step-000000003", h.dir));
  ck_zt_ok(zt_restart_open(path, comm, &restart, NULL));
  check_shard(restart, true);
  check_shard(restart, false);
  zt_restart_close(&restart);
  held_free(&h);
}
END_TEST

/* One of the same step is replaced, whole. */
START_TEST(same_step_again) {
  open_held("again", HELD_TINY);
  held_writer(&h, 1, 0);
  held_fill(&h, 1);
  ck_zt_ok(held_save(&h, 5, NULL));
  held_fill(&h, 5);
  ck_zt_ok(held_save(&h, 5, NULL));
  check_load("step-000000005");
  ck_assert(!stands("step-000000005.tmp"));
  held_free(&h);
}
END_TEST

/* ---- What stays ---- */

START_TEST(retention) {
  static const char *const kept[] = {"step-000000009", "step-000000008",
                                     "step-000000006", "step-000000003",
                                     "step-000000002"};
  open_held("keep", HELD_TINY);
  held_writer(&h, 0, 0);
  h.retention = (zt_retention){.keep = 2, .keep_every = 3, .best = 2};
  for (int step = 1; step <= 9; step++) {
    held_fill(&h, step);
    ck_zt_ok(held_save(&h, step, NULL));
  }
  zt_writer_wait(h.writer);
  ck_zt_ok(zt_agree(comm, ZT_OK));
  zt_restart_list list;
  ck_zt_ok(zt_restart_find(h.dir, comm, &list));
  ck_assert_int_eq(list.count, 5);
  for (int i = 0; i < list.count; i++)
    ck_assert_str_eq(list.names[i], kept[i]);
  zt_restart_list_free(&list);
  held_free(&h);
}
END_TEST

static void make(const char *name) {
  char path[PATH_MAX];
  ck_zt_ok(zt_path(path, "%s/%s", h.dir, name));
  ck_assert_int_eq(mkdir(path, 0777), 0);
  ck_zt_ok(zt_path(path, "%s/%s/part-00000.h5", h.dir, name));
  FILE *f = fopen(path, "w");
  ck_assert(f && fclose(f) == 0);
}

/* What killed processes leave goes; what is not ours stays. */
START_TEST(leftovers) {
  static const char *const go[] = {"step-000000004.tmp",
                                   "step-000000002.old.tmp",
                                   "step-000000001.replaced"};
  static const char *const stay[] = {"step-000000003.bad", "notes.tmp",
                                     "step-000000007", "step-000000001"};
  open_held("left", HELD_TINY);
  held_writer(&h, 0, 0);
  held_fill(&h, 1);
  ck_zt_ok(held_save(&h, 1, NULL));
  zt_writer_wait(h.writer);
  if (comm->rank == 0) {
    make("step-000000004.tmp");
    make("step-000000002.old.tmp");
    make("step-000000001.replaced");
    make("step-000000003.bad");
    make("notes.tmp");
    make("step-000000007.replaced"); /* killed between two renames */
    zt_restart_clean(h.dir, NULL);
  }
  ck_zt_ok(zt_agree(comm, ZT_OK));
  for (size_t i = 0; i < sizeof go / sizeof *go; i++)
    ck_assert_msg(!stands(go[i]), "%s", go[i]);
  for (size_t i = 0; i < sizeof stay / sizeof *stay; i++)
    ck_assert_msg(stands(stay[i]), "%s", stay[i]);
  held_free(&h);
}
END_TEST

/* ---- What is told from what ---- */

static void put(const char *name, const char *text) {
  char path[PATH_MAX];
  ck_zt_ok(zt_path(path, "%s/%s", h.dir, name));
  FILE *f = fopen(path, "w");
  ck_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void reseal(const char *version) {
  char path[PATH_MAX], *text;
  zt_text sealed = {0};
  ck_zt_ok(zt_path(path, "%s/step-000000001/%s", h.dir, ZT_COMMIT));
  ck_zt_ok(zt_read_file(path, 1 << 20, &text, NULL));
  *strstr(text, "\nseal ") = '\0';
  zt_text_add(&sealed, ZT_FORMAT_RESTART " %s%s\n", version,
              strchr(text, '\n'));
  zt_hash hash = zt_hash_bytes(sealed.data, sealed.size);
  zt_text_add(&sealed, "seal %016lx%016lx\n", hash.high, hash.low);
  put("step-000000001/" ZT_COMMIT, sealed.data);
  zt_text_free(&sealed);
  free(text);
}

/* Alone: nothing here depends on ranks. */
START_TEST(no_proof_no_damage) {
  bool damaged = true;
  if (comm->rank != 0)
    return;
  held_create(&h, alone, scratch, HELD_TINY);
  ck_zt_fails(held_load(&h, "step-000000001", alone, &damaged), ZT_ERR_NOINPUT);
  ck_assert(!damaged);
  held_writer(&h, 0, 0);
  held_fill(&h, 1);
  ck_zt_ok(held_save(&h, 1, NULL));
  reseal("3.0");
  damaged = true;
  ck_zt_fails(held_load(&h, "step-000000001", alone, &damaged), ZT_ERR_DATA);
  ck_assert(!damaged);
  ck_assert_msg(strstr(zt_last_error(), "3.0 is newer than 2."), "%s",
                zt_last_error());
  reseal("1.7"); /* a minor version only adds */
  ck_zt_ok(held_load(&h, "step-000000001", alone, &damaged));
  held_free(&h);
}
END_TEST

/* Another one's name. */
START_TEST(wrong_name) {
  char from[PATH_MAX], to[PATH_MAX];
  bool damaged;
  open_held("name", HELD_TINY);
  held_writer(&h, 0, 0);
  held_fill(&h, 3);
  ck_zt_ok(held_save(&h, 3, NULL));
  ck_zt_ok(zt_path(from, "%s/step-000000003", h.dir));
  ck_zt_ok(zt_path(to, "%s/step-000000004", h.dir));
  if (comm->rank == 0)
    ck_assert_int_eq(rename(from, to), 0);
  ck_zt_ok(zt_agree(comm, ZT_OK));
  ck_zt_fails(held_load(&h, "step-000000004", comm, &damaged), ZT_ERR_DATA);
  ck_assert(damaged && strstr(zt_last_error(), "is the restart of step 3"));
  held_free(&h);
}
END_TEST

/* Proof on one rank goes before a failure on another. */
START_TEST(proof_counts_more) {
  bool damaged = comm->rank == comm->size - 1;
  zt_status status = zt_fail(damaged ? ZT_ERR_DATA : ZT_ERR_IO, "%s",
                             damaged ? "proven" : "disk");
  ck_zt_fails(zt_restart_agree(comm, status, &damaged), ZT_ERR_DATA);
  ck_assert(damaged && strstr(zt_last_error(), "proven"));
  status = comm->rank == 0 ? zt_fail(ZT_ERR_IO, "disk") : ZT_OK;
  damaged = false;
  ck_zt_fails(zt_restart_agree(comm, status, &damaged), ZT_ERR_IO);
  ck_assert(!damaged);
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("restart");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 120);
  tcase_add_test(all, nothing_of_the_next_step);
  tcase_add_test(all, planned_memory);
  tcase_add_test(all, any_ranks_and_parts);
  tcase_add_test(all, a_whole_shard);
  tcase_add_test(all, same_step_again);
  tcase_add_test(all, retention);
  tcase_add_test(all, leftovers);
  tcase_add_test(all, no_proof_no_damage);
  tcase_add_test(all, wrong_name);
  tcase_add_test(all, proof_counts_more);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  scratch_begin("check_restart");
  int failed = mpi_unit_main(argc, argv, make_suite);
  scratch_end();
  return failed;
}
