/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/restart_skeleton.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/format.h"
#include "io/h5.h"
#include "io/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Layout ---- */

typedef struct skeleton {
  const char *path;
  zt_part *part;
  int64_t *segments; /* [n_segments, 3] global start, length, local start */
  int64_t n_segments, segments_at;
  zt_source *source;
  int64_t *config_at; /* [source->n_config] */
} skeleton;

static zt_status find_segments(skeleton *s, const zt_params *params,
                               int ranks) {
  s->segments = zt_calloc((size_t) params->n_units, 3 * sizeof *s->segments);
  if (!s->segments)
    return ZT_ERR_MEMORY;
  int64_t cell = 0;
  for (int u = 0; u < params->n_units; u++) {
    int64_t begin, end;
    zt_shard_range(params->units[u].numel, ranks, s->part->first,
                   s->part->ranks, &begin, &end);
    if (begin == end)
      continue;
    int64_t *segment = s->segments + 3 * s->n_segments++;
    segment[0] = params->units[u].start + begin;
    segment[1] = end - begin;
    segment[2] = cell * ZT_GRID;
    cell += zt_grid_cells(end - begin);
  }
  return ZT_OK;
}

static zt_status create_config(skeleton *s, hid_t file) {
  hid_t group;
  if (!s->source)
    return ZT_OK;
  s->config_at = zt_calloc((size_t) s->source->n_config, sizeof *s->config_at);
  if (!s->config_at)
    return ZT_ERR_MEMORY;
  ZT_TRY(zt_h5_create_group(file, s->path, ZT_GROUP_CONFIG, &group));
  zt_status status = ZT_OK;
  for (int i = 0; i < s->source->n_config && status == ZT_OK; i++)
    status = zt_h5_create_dataset(group, s->path, s->source->config[i].name,
                                  H5T_STD_U8LE, 1, &s->source->config[i].size,
                                  &s->config_at[i]);
  H5Gclose(group);
  return status;
}

/* In file order: what is written once, the checksums, the states. */
static zt_status create_datasets(skeleton *s, hid_t file) {
  zt_part *p = s->part;
  ZT_TRY(zt_h5_create_dataset(file, s->path, ZT_RESTART_SEGMENTS, H5T_STD_I64LE,
                              2, (int64_t[]){s->n_segments, 3},
                              &s->segments_at));
  ZT_TRY(zt_h5_create_dataset(file, s->path, ZT_RESTART_CHECKSUMS,
                              H5T_STD_U64LE, 2,
                              (int64_t[]){p->states, p->cells}, &p->checksums));
  for (int i = 0; i < p->states; i++)
    ZT_TRY(zt_h5_create_dataset(file, s->path, zt_state_name(i), H5T_IEEE_F32LE,
                                1, (int64_t[]){p->cells * ZT_GRID},
                                &p->data[i]));
  return ZT_OK;
}

static zt_status lay_out(skeleton *s, int index, int ranks) {
  hid_t file;
  size_t links = 8 + (s->source ? (size_t) s->source->n_config : 0);
  const char *version = zt_restart_version(s->part->states);
  ZT_TRY(zt_h5_create(s->path, links, ZT_PAGE_ALIGN, &file));
  zt_status status =
      zt_h5_write_string(file, s->path, ZT_ATTR_FORMAT, ZT_FORMAT_PART);
  if (status == ZT_OK)
    status = zt_h5_write_string(file, s->path, ZT_ATTR_VERSION, version);
  if (status == ZT_OK)
    status = zt_h5_write_int(file, s->path, "part", index);
  if (status == ZT_OK)
    status = zt_h5_write_int(file, s->path, "first_rank", s->part->first);
  if (status == ZT_OK)
    status = zt_h5_write_int(file, s->path, "ranks", s->part->ranks);
  if (status == ZT_OK)
    status = zt_h5_write_int(file, s->path, "all_ranks", ranks);
  if (status == ZT_OK)
    status = create_config(s, file);
  if (status == ZT_OK)
    status = create_datasets(s, file);
  zt_status closed = zt_h5_close(file, s->path);
  return status == ZT_OK ? closed : status;
}

/* The order in the file is what seals and saves rely on. */
static zt_status check_order(skeleton *s, int fd) {
  zt_part *p = s->part;
  struct stat st;
  if (fstat(fd, &st) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot stat", s->path);
  p->bytes = st.st_size;
  if (p->cells == 0) { /* all padding: nothing but the front */
    p->checksums = p->bytes;
    return ZT_OK;
  }
  int64_t last = p->checksums + p->states * p->cells * 8;
  bool right = p->checksums > s->segments_at;
  for (int i = 0; i < p->states; i++) {
    /* Zeros up to the first page, where no metadata has room; then no gap that
     * nobody verifies. */
    right = right && p->data[i] % ZT_PAGE_ALIGN == 0 && p->data[i] >= last &&
            p->data[i] - last < (i == 0 ? ZT_PAGE_ALIGN : 1);
    last = p->data[i] + p->cells * ZT_CELL_BYTES;
  }
  if (!right || last != p->bytes)
    return zt_fail(ZT_ERR_INTERNAL, "%s: HDF5 laid it out in another order",
                   s->path);
  return ZT_OK;
}

static zt_status copy_config(skeleton *s, int file, char *front) {
  enum { PIECE = 1 << 20 };
  int64_t size = s->source->config[file].size;
  for (int64_t at = 0; at < size; at += PIECE) {
    size_t n = size - at < PIECE ? (size_t) (size - at) : PIECE;
    ZT_TRY(zt_source_read_config(s->source, file, at, n,
                                 front + s->config_at[file] + at));
  }
  return ZT_OK;
}

/* What HDF5 made, with the data that never changes. */
static zt_status read_front(skeleton *s, int fd, char **front) {
  size_t n = (size_t) s->part->checksums;
  char *bytes = zt_calloc(n, 1);
  if (!bytes)
    return ZT_ERR_MEMORY;
  zt_status status = zt_read_at(fd, s->path, bytes, n, 0);
  if (s->n_segments && status == ZT_OK)
    memcpy(bytes + s->segments_at, s->segments,
           (size_t) s->n_segments * 3 * sizeof *s->segments);
  for (int i = 0; s->source && i < s->source->n_config && status == ZT_OK; i++)
    status = copy_config(s, i, bytes);
  if (status != ZT_OK) {
    free(bytes);
    return status;
  }
  *front = bytes;
  return ZT_OK;
}

/* In a file in memory that is as long as the part and nearly all hole.  HDF5
 * takes no descriptor, and a name without one under /proc it resolves in vain:
 * so it has a name, which nobody else can take in a directory like this. */
zt_status zt_restart_skeleton(const zt_params *params, int ranks, int index,
                              zt_source *source, zt_part *part, char **front) {
  char path[] = "/dev/shm/zt-skeleton-XXXXXX";
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", path);
  skeleton s = {.path = path, .part = part, .source = source};
  zt_status status = find_segments(&s, params, ranks);
  if (status == ZT_OK)
    status = lay_out(&s, index, ranks);
  if (status == ZT_OK)
    status = check_order(&s, fd);
  if (status == ZT_OK)
    status = read_front(&s, fd, front);
  unlink(path);
  close(fd);
  free(s.segments);
  free(s.config_at);
  return status;
}

/* zt_h5_create() keeps a page for each link and each dataset begins on one. */
size_t zt_restart_front_bytes(const zt_params *params, int64_t config_bytes) {
  enum { PAGES = 28, FILES = 6 }; /* without configuration files; of those */
  size_t segments = (size_t) params->n_units * 3 * sizeof(int64_t);
  return (PAGES + 2 * FILES) * (size_t) ZT_PAGE_ALIGN + segments +
         (size_t) config_bytes;
}

/* ---- Removal ---- */

void zt_restart_remove(const char *dir) {
  DIR *d = opendir(dir);
  if (!d) {
    bool gone = errno == ENOTDIR ? unlink(dir) == 0 : errno == ENOENT;
    if (!gone)
      zt_warn("%s: cannot be removed: %s", dir, strerror(errno));
    return;
  }
  struct dirent *entry;
  while ((entry = readdir(d)))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
        unlinkat(dirfd(d), entry->d_name, 0) != 0 && errno != ENOENT)
      zt_warn("%s/%s: cannot be removed: %s", dir, entry->d_name,
              strerror(errno));
  closedir(d);
  if (rmdir(dir) != 0 && errno != ENOENT)
    zt_warn("%s: cannot be removed: %s", dir, strerror(errno));
}
