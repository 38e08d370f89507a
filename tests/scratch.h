/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A folder for what a unit test writes, inside the build folder. */
#ifndef ZT_TESTS_SCRATCH_H
#define ZT_TESTS_SCRATCH_H

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[PATH_MAX / 2];

/* What is no folder goes at once, a folder after what is in it. */
static inline void scratch_remove(const char *path) {
  if (unlink(path) == 0)
    return;
  DIR *d = opendir(path);
  for (struct dirent *e; d && (e = readdir(d));) {
    char inner[PATH_MAX];
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) <
            (int) sizeof inner)
      scratch_remove(inner);
  }
  if (d)
    closedir(d);
  rmdir(path);
}

/** Make the folder; call first thing in main(). */
static inline void scratch_begin(const char *name) {
  const char *build = getenv("ZT_BUILD");
  snprintf(scratch, sizeof scratch, "%s/%s.XXXXXX", build ? build : ".", name);
  if (!mkdtemp(scratch)) {
    perror(scratch);
    exit(99); /* a test that could not start */
  }
}

static inline void scratch_end(void) {
  scratch_remove(scratch);
}

/** SCRATCH/NAME; valid until the fourth next call. */
static inline const char *scratch_path(const char *name) {
  static char path[4][PATH_MAX];
  static int next;
  char *p = path[next++ % 4];
  snprintf(p, sizeof *path, "%s/%s", scratch, name);
  return p;
}

#endif
