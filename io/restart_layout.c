/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/restart_layout.h"

#include "base/memory.h"
#include "io/format.h"
#include "io/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#ifdef ZT_XXHASH_DISPATCH
#include <xxh_x86dispatch.h>
#endif

const char *zt_state_name(int state) {
  static const char *const names[] = {"master", "exp_avg", "exp_avg_sq"};
  return names[state];
}

const char *zt_state_group(int state) {
  return state == ZT_MASTER ? ZT_GROUP_PARAMETERS : zt_state_name(state);
}

const char *zt_state_place(int state) {
  static const char *const names[] = {"master_at", "exp_avg_at",
                                      "exp_avg_sq_at"};
  return names[state];
}

const char *zt_restart_version(int states) {
  return states == ZT_STATES ? ZT_RESTART_MOMENTS : ZT_RESTART_STATISTICS;
}

void zt_part_name(int index, char name[32]) {
  snprintf(name, 32, "part-%05d.h5", index);
}

int64_t zt_part_cells(const int64_t *unit_numel, int n_units, int ranks,
                      int first, int count, int64_t *start) {
  int64_t cells = 0;
  for (int u = 0; u < n_units; u++) {
    int64_t begin, end;
    zt_shard_range(unit_numel[u], ranks, first, count, &begin, &end);
    if (start)
      start[u] = cells;
    cells += zt_grid_cells(end - begin);
  }
  if (start)
    start[n_units] = cells;
  return cells;
}

uint64_t zt_cell_checksum(const void *cell) {
  return XXH3_64bits(cell, ZT_CELL_BYTES);
}

uint64_t zt_table_mix(int64_t index, uint64_t checksum) {
  return XXH3_64bits_withSeed(&checksum, sizeof checksum, (uint64_t) index + 1);
}

/* ---- Hashes ---- */

static zt_hash hash_of(XXH128_hash_t hash) {
  return (zt_hash){.low = hash.low64, .high = hash.high64};
}

zt_hash zt_hash_bytes(const void *bytes, size_t n) {
  return hash_of(XXH3_128bits(bytes, n));
}

static zt_status hash_pieces(int fd, const char *path, int64_t n, char *buffer,
                             size_t size, XXH3_state_t *state) {
  for (int64_t at = 0; at < n; at += (int64_t) size) {
    size_t piece = n - at < (int64_t) size ? (size_t) (n - at) : size;
    ZT_TRY(zt_read_at(fd, path, buffer, piece, at));
    XXH3_128bits_update(state, buffer, piece);
  }
  return ZT_OK;
}

zt_status zt_hash_file(int fd, const char *path, int64_t n, zt_hash *hash) {
  enum { PIECE = 1 << 20 };
  char *buffer = zt_calloc(PIECE, 1);
  XXH3_state_t *state = XXH3_createState();
  zt_status status = ZT_ERR_MEMORY;
  if (buffer && state) {
    XXH3_128bits_reset(state);
    status = hash_pieces(fd, path, n, buffer, PIECE, state);
    *hash = hash_of(XXH3_128bits_digest(state));
  }
  XXH3_freeState(state);
  free(buffer);
  return status;
}

/* ---- The seal ----
 *
 *   zt-restart 1.0
 *   manifest.json BYTES HASH
 *   part-00000.h5 BYTES HASH TABLE
 *   ...
 *   seal HASH                 of all lines above
 */

#define HASH_FORMAT "%016" PRIx64 "%016" PRIx64
#define HASH_SCAN "%16" SCNx64 "%16" SCNx64

void zt_seal_format(const zt_seal *seal, zt_text *text) {
  zt_text_add(text, ZT_FORMAT_RESTART " %s\n", seal->version);
  zt_text_add(text, "%s %" PRId64 " " HASH_FORMAT "\n", ZT_MANIFEST,
              seal->manifest_bytes, seal->manifest.high, seal->manifest.low);
  for (int i = 0; i < seal->n_parts; i++) {
    const zt_part_seal *p = &seal->parts[i];
    char name[32];
    zt_part_name(i, name);
    zt_text_add(text, "%s %" PRId64 " " HASH_FORMAT " %016" PRIx64 "\n", name,
                p->bytes, p->front.high, p->front.low, p->table);
  }
  if (text->failed)
    return;
  zt_hash all = zt_hash_bytes(text->data, text->size);
  zt_text_add(text, "seal " HASH_FORMAT "\n", all.high, all.low);
}

/* The last line must be right before the others are looked at. */
static bool seal_holds(const char *text, size_t size) {
  size_t last = size;
  if (size == 0 || text[size - 1] != '\n')
    return false;
  for (last = size - 1; last > 0 && text[last - 1] != '\n';)
    last--;
  zt_hash all = zt_hash_bytes(text, last);
  char wanted[64];
  snprintf(wanted, sizeof wanted, "seal " HASH_FORMAT "\n", all.high, all.low);
  return strlen(wanted) == size - last &&
         !memcmp(wanted, text + last, size - last);
}

static bool parse_part(const char *line, int index, zt_part_seal *p) {
  char name[32], wanted[32];
  zt_part_name(index, wanted);
  return sscanf(line, "%31s %" SCNd64 " " HASH_SCAN " %16" SCNx64, name,
                &p->bytes, &p->front.high, &p->front.low, &p->table) == 5 &&
         !strcmp(name, wanted) && p->bytes > 0;
}

static zt_status parse_lines(const char *path, const char *text,
                             zt_seal *seal) {
  int major, minor;
  size_t capacity = 0;
  if (sscanf(text, ZT_FORMAT_RESTART " %d.%d", &major, &minor) != 2)
    return zt_fail(ZT_ERR_DATA, "%s: not the seal of a restart", path);
  if (major > ZT_RESTART_MAJOR)
    return zt_fail(ZT_ERR_DATA,
                   "%s: format %d.%d is newer than %d.%d, the newest known "
                   "here: use a newer version",
                   path, major, minor, ZT_RESTART_MAJOR, ZT_RESTART_MINOR);
  const char *line = strchr(text, '\n') + 1;
  if (sscanf(line, ZT_MANIFEST " %" SCNd64 " " HASH_SCAN, &seal->manifest_bytes,
             &seal->manifest.high, &seal->manifest.low) != 3 ||
      seal->manifest_bytes <= 0)
    return zt_fail(ZT_ERR_DATA, "%s: line 2 is not right", path);
  for (line = strchr(line, '\n') + 1; strncmp(line, "seal ", 5) != 0;
       line = strchr(line, '\n') + 1) {
    if (!zt_grow(&seal->parts, &capacity, (size_t) seal->n_parts,
                 sizeof *seal->parts))
      return ZT_ERR_MEMORY;
    if (!parse_part(line, seal->n_parts, &seal->parts[seal->n_parts]))
      return zt_fail(ZT_ERR_DATA, "%s: line %d is not right", path,
                     seal->n_parts + 3);
    seal->n_parts++;
  }
  return ZT_OK;
}

zt_status zt_seal_parse(const char *path, const char *text, size_t size,
                        zt_seal *seal, bool *damaged) {
  *seal = (zt_seal){0};
  *damaged = !seal_holds(text, size);
  if (*damaged)
    return zt_fail(ZT_ERR_DATA, "%s: the seal does not fit its text", path);
  zt_status status = parse_lines(path, text, seal);
  if (status != ZT_OK)
    free(seal->parts);
  return status;
}
