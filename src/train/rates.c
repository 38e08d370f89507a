/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/rates.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PATTERN = 255 };
static const double unset = -1; /* no pattern matched yet */

/* The next of the words, "" after the last. */
static zt_status next_word(const char **text, const char *key,
                           char word[MOST_PATTERN + 1]) {
  const char *from = *text + strspn(*text, " \t\n,");
  size_t n = strcspn(from, " \t\n,");
  *text = from + n;
  if (n > MOST_PATTERN)
    return zt_fail(ZT_ERR_CONFIG, "%s: %.40s... is longer than %d letters", key,
                   from, MOST_PATTERN);
  memcpy(word, from, n);
  word[n] = '\0';
  return ZT_OK;
}

/* Give the parameters that match a rate, or those alone that have none yet. */
static zt_status apply(const zt_params *params, const char *key,
                       const char *pattern, double rate, bool anew,
                       double *rates) {
  bool any = false;
  for (int i = 0; i < params->count; i++) {
    if (fnmatch(pattern, params->list[i].name, 0) != 0)
      continue;
    any = true;
    if (anew || rates[i] == unset)
      rates[i] = rate;
  }
  if (any)
    return ZT_OK;
  return zt_fail(ZT_ERR_CONFIG,
                 "%s: no parameter is named \"%.80s\"; 'ztinfo show WEIGHTS' "
                 "lists the names",
                 key, pattern);
}

static zt_status apply_scales(const zt_params *params, const char *scales,
                              double *rates) {
  static const char key[] = "train.optimizer.lr_scale";
  char word[MOST_PATTERN + 1], *end;
  for (;;) {
    ZT_TRY(next_word(&scales, key, word));
    if (!*word)
      return ZT_OK;
    char *equals = strrchr(word, '=');
    double factor = equals ? strtod(equals + 1, &end) : 0;
    if (!equals || end == equals + 1 || *end || !isfinite(factor) || factor < 0)
      return zt_fail(ZT_ERR_CONFIG,
                     "%s: \"%.80s\" is not PATTERN=FACTOR with a factor of 0 "
                     "or more",
                     key, word);
    *equals = '\0';
    ZT_TRY(apply(params, key, word, factor, false, rates));
  }
}

static zt_status apply_freeze(const zt_params *params, const char *freeze,
                              double *rates) {
  static const char key[] = "train.optimizer.freeze";
  char word[MOST_PATTERN + 1];
  for (;;) {
    ZT_TRY(next_word(&freeze, key, word));
    if (!*word)
      return ZT_OK;
    ZT_TRY(apply(params, key, word, 0, true, rates));
  }
}

zt_status zt_param_rates(const zt_params *params, const char *freeze,
                         const char *scales, double *rates) {
  double largest = 0;
  for (int i = 0; i < params->count; i++)
    rates[i] = unset;
  ZT_TRY(apply_scales(params, scales ? scales : "", rates));
  ZT_TRY(apply_freeze(params, freeze ? freeze : "", rates));
  for (int i = 0; i < params->count; i++) {
    if (rates[i] == unset)
      rates[i] = 1;
    largest = fmax(largest, rates[i]);
  }
  if (largest > 0)
    return ZT_OK;
  return zt_fail(ZT_ERR_CONFIG, "train.optimizer.freeze: all parameters are "
                                "frozen, nothing would be learnt");
}
