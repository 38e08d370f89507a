/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The tokens of a configuration file, cut as libconfig cuts them, and looked
 *  at before it does.  Part of settings_scan. */
#ifndef ZT_BASE_SETTINGS_LEX_H
#define ZT_BASE_SETTINGS_LEX_H

#include "base/settings_scan.h"

#include <sys/types.h>

enum { ZT_NAME_SIZE = 65 };

/** A file that is being read, and the one that includes it. */
typedef struct zt_source {
  const char *at, *end; /* at[0 .. end) is left; ends with "\n", then a NUL */
  int file, line;       /* index in scan->files, line of `at` */
  int depth;            /* 1: included by none */
  dev_t device;
  ino_t inode;
  const struct zt_source *parent;
} zt_source;

typedef struct zt_bracket {
  char sign; /* '{', '[' or '(' */
  int flat;  /* where it was opened */
  int key;   /* what the keys inside it belong to */
} zt_bracket;

/** A "KEY =" seen so far, to find one set twice. */
typedef struct zt_lexed_key {
  char name[ZT_NAME_SIZE]; /* "" for a group that has none */
  int parent, flat;
} zt_lexed_key;

typedef struct zt_lexer {
  zt_scan *scan;
  zt_problems *problems;
  /* What to do about `@include "NAME"`; `name` stands behind the quote. */
  bool (*include)(struct zt_lexer *lx, zt_source *src, const char *name);
  size_t bytes;            /* read so far */
  int flat;                /* line of the flat text */
  int last;                /* kind of the last token */
  char name[ZT_NAME_SIZE]; /* the last one */
  int name_flat;
  zt_lexed_key *keys;
  size_t keys_capacity;
  int n_keys;
  zt_bracket open[ZT_SCAN_DEPTH];
  int n_open;
  bool stopped;     /* by a problem that makes all that follows doubtful */
  zt_status status; /* not ZT_OK: memory ran out */
} zt_lexer;

/** Append a source to the flat text, token by token.
 *  \return false if something stopped it. */
bool zt_lex(zt_lexer *lx, zt_source *src);

/** Note a problem at a line of the flat text, after which libconfig need not be
 *  asked. */
void zt_lex_problem(zt_lexer *lx, int flat, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
