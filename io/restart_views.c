/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/restart_views.h"

#include "base/memory.h"
#include "base/text.h"
#include "io/format.h"
#include "io/h5.h"
#include "io/output.h"
#include "io/restart_inside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct drawing {
  const char *path;
  const zt_views *views;
  int64_t *unit_start; /* [n_units + 1] in the global flat space */
  int64_t *cell;       /* [n_parts, n_units + 1] where a unit begins there */
  hid_t groups[ZT_STATES + 1]; /* the last one of statistics */
} drawing;

enum { STATISTICS = ZT_STATES };

/* One parameter in one state: a dataset to be. */
typedef struct view {
  const char *name;
  int group, state, ndim;
  int64_t dims[ZT_MAX_DIMS], numel;
  int64_t start; /* in the global flat space */
  hid_t how, space;
} view;

/* ---- Mappings ---- */

/* A view's elements begin .. begin + n - 1, which are those of a part's
 * dataset from `at` on. */
static zt_status map_block(const drawing *w, const view *v, int part,
                           const hsize_t *start, const hsize_t *count,
                           hsize_t at, hsize_t n) {
  char file[32];
  const hsize_t whole =
      (hsize_t) w->views->parts[part].cells * (hsize_t) ZT_GRID;
  zt_part_name(part, file);
  hid_t source = H5Screate_simple(1, &whole, NULL);
  bool done =
      source >= 0 &&
      H5Sselect_hyperslab(source, H5S_SELECT_SET, &at, NULL, &n, NULL) >= 0 &&
      H5Sselect_hyperslab(v->space, H5S_SELECT_SET, start, NULL, count, NULL) >=
          0 &&
      H5Pset_virtual(v->how, v->space, file, zt_state_name(v->state), source) >=
          0;
  if (source >= 0)
    H5Sclose(source);
  return done ? ZT_OK
              : zt_h5_fail(ZT_ERR_INTERNAL, "%s: cannot map %.80s", w->path,
                           v->name);
}

/* The same for any range: cut into the fewest blocks that are parallel to the
 * axes, since a slice begins and ends within rows. */
static zt_status map_range(const drawing *w, const view *v, int part,
                           int64_t begin, int64_t end, int64_t at) {
  while (begin < end) {
    hsize_t start[ZT_MAX_DIMS], count[ZT_MAX_DIMS];
    int64_t stride = v->numel, rest = begin, n = 0;
    for (int d = 0; d < v->ndim; d++) {
      stride /= v->dims[d];
      start[d] = (hsize_t) (rest / stride);
      rest %= stride;
      count[d] = n ? (hsize_t) v->dims[d] : 1;
      if (n || rest != 0 || end - begin < stride)
        continue;
      int64_t here = v->dims[d] - (int64_t) start[d];
      count[d] =
          (hsize_t) ((end - begin) / stride < here ? (end - begin) / stride
                                                   : here);
      n = (int64_t) count[d] * stride;
    }
    ZT_TRY(map_block(w, v, part, start, count, (hsize_t) at, (hsize_t) n));
    begin += n;
    at += n;
  }
  return ZT_OK;
}

/* A parameter lies in one unit. */
static zt_status map_parts(const drawing *w, const view *v) {
  const zt_views *views = w->views;
  int unit = 0;
  while (unit + 1 < views->n_units && w->unit_start[unit + 1] <= v->start)
    unit++;
  const int64_t from = v->start - w->unit_start[unit], to = from + v->numel;
  for (int i = 0; i < views->n_parts; i++) {
    const zt_part *p = &views->parts[i];
    int64_t begin, end;
    zt_shard_range(views->unit_numel[unit], views->ranks, p->first, p->ranks,
                   &begin, &end);
    int64_t low = begin > from ? begin : from, high = end < to ? end : to;
    if (low < high)
      ZT_TRY(map_range(w, v, i, low - from, high - from,
                       w->cell[i * (views->n_units + 1) + unit] * ZT_GRID +
                           (low - begin)));
  }
  return ZT_OK;
}

/* ---- Datasets ---- */

static zt_status create_view(const drawing *w, view *v) {
  const float missing = NAN; /* shows that a part is not there */
  hsize_t dims[ZT_MAX_DIMS];
  for (int d = 0; d < v->ndim; d++)
    dims[d] = (hsize_t) v->dims[d];
  v->how = H5Pcreate(H5P_DATASET_CREATE);
  v->space = H5Screate_simple(v->ndim, dims, NULL);
  H5Pset_fill_value(v->how, H5T_NATIVE_FLOAT, &missing);
  H5Pset_obj_track_times(v->how, 0);
  zt_status status = map_parts(w, v);
  hid_t dataset = -1;
  H5Sselect_all(v->space);
  if (status == ZT_OK)
    dataset = H5Dcreate2(w->groups[v->group], v->name, H5T_IEEE_F32LE, v->space,
                         H5P_DEFAULT, v->how, H5P_DEFAULT);
  if (status == ZT_OK && dataset < 0)
    status =
        zt_h5_fail(ZT_ERR_CREATE, "%s: cannot lay out %.80s", w->path, v->name);
  if (dataset >= 0)
    H5Dclose(dataset);
  H5Sclose(v->space);
  H5Pclose(v->how);
  return status;
}

/* What the manifest says was checked when it was opened, or is our own. */
static zt_status create_parameter(const drawing *w, json_t *entry,
                                  bool statistics) {
  json_t *shape = json_object_get(entry, "shape");
  view v = {.name = json_string_value(json_object_get(entry, "name")),
            .ndim = (int) json_array_size(shape),
            .numel = 1,
            .start = json_integer_value(json_object_get(entry, "start"))};
  for (int d = 0; d < v.ndim; d++) {
    v.dims[d] = json_integer_value(json_array_get(shape, (size_t) d));
    v.numel *= v.dims[d];
  }
  for (v.state = 0; v.state < w->views->states; v.state++) {
    v.group = statistics ? STATISTICS : v.state;
    ZT_TRY(create_view(w, &v));
  }
  return ZT_OK;
}

/* Tied names, as in a weights file. */
static zt_status link_names(const drawing *w) {
  const char *alias;
  json_t *name;
  json_object_foreach(json_object_get(w->views->manifest, "aliases"), alias,
                      name) {
    for (int s = 0; s < w->views->states; s++)
      if (H5Lcreate_hard(w->groups[s], json_string_value(name), H5L_SAME_LOC,
                         alias, H5P_DEFAULT, H5P_DEFAULT) < 0)
        return zt_h5_fail(ZT_ERR_CREATE, "%s: cannot link %.80s", w->path,
                          alias);
  }
  return ZT_OK;
}

static zt_status create_groups(drawing *w, hid_t file) {
  for (int s = 0; s < w->views->states; s++)
    ZT_TRY(zt_h5_create_group(file, w->path, zt_state_group(s), &w->groups[s]));
  if (w->views->states == ZT_STATES)
    return ZT_OK;
  return zt_h5_create_group(file, w->path, "statistics",
                            &w->groups[STATISTICS]);
}

static zt_status fill_file(drawing *w, hid_t file) {
  json_t *entry;
  size_t i;
  const char *version = zt_restart_version(w->views->states);
  ZT_TRY(zt_h5_write_string(file, w->path, ZT_ATTR_FORMAT, ZT_FORMAT_VIEWS));
  ZT_TRY(zt_h5_write_string(file, w->path, ZT_ATTR_VERSION, version));
  ZT_TRY(create_groups(w, file));
  json_array_foreach(json_object_get(w->views->manifest, "parameters"), i,
                     entry) {
    ZT_TRY(create_parameter(w, entry, false));
  }
  json_array_foreach(json_object_get(w->views->manifest, "statistics"), i,
                     entry) {
    ZT_TRY(create_parameter(w, entry, true));
  }
  return link_names(w);
}

/* ---- The file ---- */

static int64_t count_parameters(const zt_views *views) {
  json_t *manifest = views->manifest;
  return (int64_t) json_array_size(json_object_get(manifest, "parameters")) +
         (int64_t) json_array_size(json_object_get(manifest, "statistics"));
}

static zt_status find_places(drawing *w) {
  const zt_views *v = w->views;
  const size_t row = (size_t) v->n_units + 1;
  w->unit_start = zt_calloc(row, sizeof *w->unit_start);
  w->cell = zt_calloc((size_t) v->n_parts * row, sizeof *w->cell);
  if (!w->unit_start || !w->cell)
    return ZT_ERR_MEMORY;
  for (int u = 0; u < v->n_units; u++)
    w->unit_start[u + 1] = w->unit_start[u] + v->unit_numel[u];
  for (int i = 0; i < v->n_parts; i++)
    zt_part_cells(v->unit_numel, v->n_units, v->ranks, v->parts[i].first,
                  v->parts[i].ranks, w->cell + (size_t) i * row);
  return ZT_OK;
}

/* At a path, or as bytes in memory. */
static zt_status make_file(const char *path, const zt_views *views,
                           char **bytes, size_t *size) {
  drawing w = {.path = path, .views = views, .groups = {-1, -1, -1, -1}};
  const size_t links = (size_t) count_parameters(views) * ZT_STATES;
  hid_t file = -1;
  zt_status status = find_places(&w);
  if (status == ZT_OK)
    status = bytes ? zt_h5_create_in_memory(path, links, &file)
                   : zt_h5_create(path, links, 8, &file);
  if (status == ZT_OK)
    status = fill_file(&w, file);
  for (int s = 0; s <= STATISTICS; s++)
    if (w.groups[s] >= 0)
      H5Gclose(w.groups[s]);
  if (status == ZT_OK && bytes)
    status = zt_h5_image(file, path, bytes, size);
  if (file >= 0) {
    zt_status closed = zt_h5_close(file, path);
    status = status == ZT_OK ? closed : status;
  }
  free(w.unit_start);
  free(w.cell);
  return status;
}

zt_status zt_views_make(const zt_views *views, char **bytes, size_t *size) {
  *bytes = NULL;
  *size = 0;
  if (count_parameters(views) * views->n_parts > ZT_MOST_VIEWS)
    return ZT_OK;
  return make_file(ZT_VIEWS, views, bytes, size);
}

/* As zt_views has them: in the restart each part has more to it. */
static zt_part *list_parts(const zt_restart_inside *in) {
  zt_part *parts = zt_calloc((size_t) in->n_parts, sizeof *parts);
  for (int i = 0; parts && i < in->n_parts; i++)
    parts[i] = in->parts[i].part;
  return parts;
}

zt_status zt_restart_write_views(const zt_restart *restart) {
  const zt_restart_inside *in = restart->inside;
  char path[PATH_MAX];
  zt_output out;
  ZT_TRY(zt_path(path, "%s/%s", restart->path, ZT_VIEWS));
  zt_part *parts = list_parts(in);
  if (!parts)
    return ZT_ERR_MEMORY;
  const zt_views views = {.manifest = restart->manifest,
                          .unit_numel = in->unit_numel,
                          .n_units = in->n_units,
                          .states = restart->states,
                          .ranks = restart->ranks,
                          .parts = parts,
                          .n_parts = in->n_parts};
  zt_status status = zt_output_begin(&out, path, true);
  if (status == ZT_OK) {
    status = make_file(out.temporary, &views, NULL, NULL);
    if (status == ZT_OK)
      status = zt_output_commit(&out);
    zt_output_discard(&out);
  }
  free(parts);
  return status;
}
