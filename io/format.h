/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Names and versions in our files.  FORMAT says what they mean.
 *
 *  Every file has the attributes `format` and `version` ("major.minor") in its
 *  root group.  A newer major version is refused; older ones are always read.
 */
#ifndef ZT_IO_FORMAT_H
#define ZT_IO_FORMAT_H

#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error all files are little-endian and are read and written as they are
#endif

/* Root attributes of all HDF5 files. */
#define ZT_ATTR_FORMAT "format"
#define ZT_ATTR_VERSION "version"
#define ZT_ATTR_PRODUCER "producer"

/* Weights file. */
#define ZT_FORMAT_WEIGHTS "zt-weights"
enum { ZT_WEIGHTS_MAJOR = 1, ZT_WEIGHTS_MINOR = 0 };
#define ZT_ATTR_FAMILY "family"
#define ZT_ATTR_MODEL_TYPE "model_type"
#define ZT_ATTR_PARAMETERS "parameters"
#define ZT_ATTR_DIGEST "digest"
#define ZT_GROUP_PARAMETERS "parameters"
#define ZT_GROUP_CONFIG "config"
#define ZT_CONFIG_JSON "config.json"

enum {
  ZT_DATA_ALIGN = 64,      /* bytes; where datasets of parameters start */
  ZT_MOST_LINKS = 1 << 20, /* names in a group */
  ZT_MOST_NAME = 255,      /* bytes of a name */
};
/* Of one file under /config, and of config.json, which is held in memory. */
#define ZT_MOST_CONFIG_BYTES ((int64_t) 64 << 20)
#define ZT_MOST_CONFIG_JSON ((int64_t) 1 << 20)

/* Token file: /tokens and /documents, also /mask, or the first two under
 * /source and /target. */
#define ZT_FORMAT_TOKENS "zt-tokens"
enum { ZT_TOKENS_MAJOR = 1, ZT_TOKENS_MINOR = 1 };
#define ZT_ATTR_VOCABULARY "vocabulary"
#define ZT_ATTR_EOS "eos"
#define ZT_ATTR_PAD "pad"
#define ZT_ATTR_SENTINEL "sentinel"
#define ZT_ATTR_TOKENIZER "tokenizer"
#define ZT_TOKENS_SOURCE "source"
#define ZT_TOKENS_TARGET "target"
#define ZT_TOKENS_DATA "tokens"
#define ZT_TOKENS_STARTS "documents"
#define ZT_TOKENS_MASK "mask"

/* Restart: a directory of part files with a manifest and a seal. */
#define ZT_FORMAT_RESTART "zt-restart"
#define ZT_FORMAT_PART "zt-restart-part"
#define ZT_FORMAT_VIEWS "zt-restart-views"
enum { ZT_RESTART_MAJOR = 2, ZT_RESTART_MINOR = 0 };
/* Of a restart with moments, which programs of version 1 read, and of one with
 * statistics, which they cannot. */
#define ZT_RESTART_MOMENTS "1.1"
#define ZT_RESTART_STATISTICS "2.0"
#define ZT_MANIFEST "manifest.json"
#define ZT_COMMIT "COMMIT"
#define ZT_VIEWS "views.h5"
#define ZT_RESTART_SEGMENTS "segments"
#define ZT_RESTART_CHECKSUMS "checksums"
/* Datasets of a part begin on pages, so that direct I/O can write them. */
enum { ZT_PAGE_ALIGN = 4096 };
#define ZT_MOST_MANIFEST ((size_t) 1 << 30)

#endif
