/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A disk that is soon full.  Include it first: it asks for unshare(). */
#ifndef ZT_TESTS_SMALL_DISK_H
#define ZT_TESTS_SMALL_DISK_H

#include "config.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/** Make the folder `at` a disk of 64 KiB that this process alone sees.  Where
 *  that is not allowed: false, after saying so. */
static inline bool small_disk(const char *at) {
  if (mkdir(at, 0777) == 0 && unshare(CLONE_NEWNS) == 0 &&
      mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
      mount("none", at, "tmpfs", 0, "size=64k") == 0)
    return true;
  printf("skip: no small tmpfs to fill: %s\n", strerror(errno));
  return false;
}

#endif
