/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Calls that change files, made to fail or written down.
 *
 *  shim.c stands before the C library: linked into a test, which uses the
 *  functions below, or preloaded into a whole program, which is told by the
 *  environment:
 *    ZT_SHIM_UNDER=TEXT        only paths that hold this text count
 *    ZT_SHIM_FAIL=CALL:N:WHAT  the N-th such call does not go well; N+: all of
 *                              them from there on
 *    ZT_SHIM_RANK=R            on this rank alone
 *  CALL is one of the names in the list, or "any" for all that change a file.
 *  WHAT is an error (ENOSPC EIO EDQUOT EINTR EINVAL EOPNOTSUPP ESTALE ENOMEM),
 *  "short" (a transfer of half the bytes), "slow" (0.2 s late), "stuck" (it
 *  never returns) or "crash". */
#ifndef ZT_TESTS_SHIM_H
#define ZT_TESTS_SHIM_H

#include <stdbool.h>

#define SHIM_CALL_LIST(X)                                                      \
  X(CREATE, "create")                                                          \
  X(WRITE, "write")                                                            \
  X(DIRECT, "direct") /* a write past the page cache */                        \
  X(FALLOCATE, "fallocate")                                                    \
  X(TRUNCATE, "truncate")                                                      \
  X(SYNC, "sync")                                                              \
  X(MKDIR, "mkdir")                                                            \
  X(RENAME, "rename")                                                          \
  X(UNLINK, "unlink")                                                          \
  X(RMDIR, "rmdir")                                                            \
  X(CLOSE, "close")                                                            \
  X(ANY, "any") /* what comes after it changes nothing */                      \
  X(OPEN, "open")                                                              \
  X(READ, "read")

enum {
#define X(id, name) SHIM_##id,
  SHIM_CALL_LIST(X)
#undef X
      SHIM_CALLS
};

enum { SHIM_SHORT = -1, SHIM_SLOW = -2, SHIM_CRASH = -3, SHIM_STUCK = -4 };

/** From now on: let the n-th call of a kind, under a path, end like this.
 *  \param[in] what   errno, or one of the above
 *  \param[in] always all from the n-th on, but for those that remove */
void shim_fail(const char *under, int call, long n, int what, bool always);
/** Whether syncs only seem to be done: where durability does not matter, tests
 *  need not wait for it. */
void shim_skip_syncs(bool skip);
/** No more; \return whether it came to that. */
bool shim_calm(void);

/** Write down all changes under a path, in the order of all processes that
 *  share the file.  NULL: no more.
 *  Each is a line "KIND PATH NUMBER NUMBER" and, for a write, its bytes:
 *    M mkdir, C create, W write at, of bytes, T length at least, S sync,
 *    R rename (a second path follows), X exchange (too), U unlink, D rmdir */
void shim_record(const char *under, const char *log);

#endif
