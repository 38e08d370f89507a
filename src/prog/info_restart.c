/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo show: what a restart's manifest says beside its parameters. */
#include "io/restart.h"
#include "prog/info.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int64_t zt_info_restart_bytes(const zt_restart *restart) {
  int64_t bytes = 0;
  json_t *part;
  size_t i;
  json_array_foreach(json_object_get(restart->manifest, "parts"), i, part) {
    bytes += json_integer_value(json_object_get(part, "bytes"));
  }
  return bytes;
}

void zt_info_add_made(zt_text *text, const zt_restart *r) {
  const size_t parts = json_array_size(json_object_get(r->manifest, "parts"));
  char size[32];
  zt_text_add(text, "by %d rank%s in %zu part%s, %s", r->ranks,
              r->ranks == 1 ? "" : "s", parts, parts == 1 ? "" : "s",
              zt_human_bytes((double) zt_info_restart_bytes(r), size));
}

/* The file is sealed, but who sealed it is not known: no control characters on
 * a terminal. */
static void add_provenance(zt_text *text, const zt_restart *r) {
  const char *key;
  json_t *value;
  json_object_foreach(json_object_get(r->manifest, "provenance"), key, value) {
    if (!json_is_string(value) || strlen(key) > 32)
      continue;
    int indent = (int) (strlen(key) < 10 ? 10 - strlen(key) : 0);
    zt_text_add(text, "  %s:%*s ", key, indent, "");
    for (const char *c = json_string_value(value); *c; c++) {
      char plain = (unsigned char) *c < 0x20 || *c == 0x7F ? ' ' : *c;
      zt_text_append(text, &plain, 1);
    }
    zt_text_append(text, "\n", 1);
  }
}

void zt_info_add_restart(zt_text *text, const zt_restart *r) {
  zt_text_add(text, "  restart:    step %" PRId64 " (%" PRId64 " updates), ",
              r->step, r->updates);
  zt_info_add_made(text, r);
  zt_text_add(text,
              "\n  state:      %016" PRIx64 "\n  data:       epoch %" PRId64
              ", place %" PRId64 "\n",
              r->digest, r->epoch, r->position);
  if (r->best_step >= 0)
    zt_text_add(text, "  best:       step %" PRId64 ", evaluation loss %.6g\n",
                r->best_step, r->best_loss);
  add_provenance(text, r);
}

void zt_info_add_restart_json(zt_text *text, const zt_restart *r) {
  static const char *const keys[] = {"parts", "provenance", "configuration",
                                     "evaluated", "best"};
  zt_text_add(text,
              ", \"step\": %" PRId64 ", \"updates\": %" PRId64
              ", \"ranks\": %d, \"bytes\": %" PRId64 ", \"epoch\": %" PRId64
              ", \"position\": %" PRId64 ", \"state_digest\": \"%016" PRIx64
              "\"",
              r->step, r->updates, r->ranks, zt_info_restart_bytes(r), r->epoch,
              r->position, r->digest);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    char *value = json_dumps(json_object_get(r->manifest, keys[i]),
                             JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
    zt_text_add(text, ", \"%s\": %s", keys[i], value ? value : "null");
    free(value);
  }
}
