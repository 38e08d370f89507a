/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of keys as people see it, and what changed since a restart. */
#include "base/settings_table.h"
#include "base/text.h"
#include "settings_unit.h"

typedef struct seen {
  int count, fixed;
  char text[512];
} seen;

static zt_status see(void *context, const zt_settings_change *change) {
  seen *s = context;
  s->count++;
  s->fixed += change->fixed;
  size_t used = strlen(s->text);
  snprintf(s->text + used, sizeof s->text - used, "%s: %s -> %s\n", change->key,
           change->was, change->is);
  return ZT_OK;
}

static zt_status refuse(void *context, const zt_settings_change *change) {
  ++*(int *) context;
  return zt_fail(ZT_ERR_CONFIG, "%s", change->key);
}

START_TEST(differences) {
  const char *options[] = {"train.batch=16", "train.steps=20",
                           "train.optimizer.betas=[0.5, 0.6]",
                           "data.train=other.h5"};
  zt_settings old, now;
  json_t *json;
  ck_zt_ok(read_text(NEEDED, &old));
  ck_zt_ok(zt_settings_to_json(&old, &json));
  /* As a restart keeps it: through text. */
  char *text = json_dumps(json, 0);
  json_decref(json);
  ck_zt_ok(zt_json_parse(text, strlen(text), "manifest.json", &json));
  free(text);
  ck_zt_ok(zt_settings_read(put("run.cfg", NEEDED), options, 4, &now));
  seen s = {0};
  ck_zt_ok(zt_settings_diff(json, &now, see, &s));
  ck_assert_str_eq(s.text,
                   "data.train: \"t.h5\" -> \"other.h5\"\n"
                   "train.steps: 10 -> 20\n"
                   "train.batch: 8 -> 16\n"
                   "train.optimizer.betas: [0.9, 0.999] -> [0.5, 0.6]\n");
  ck_assert_int_eq(s.fixed, 2);
  int calls = 0;
  ck_zt_fails(zt_settings_diff(json, &now, refuse, &calls), ZT_ERR_CONFIG);
  ck_assert_int_eq(calls, 1);

  /* Other versions: keys that are missing, strange, or of another type. */
  json_object_del(json, "zero.prefetch");
  json_object_set_new(json, "zero.magic", json_integer(1));
  json_object_set_new(json, "train.precision", json_string("fp8"));
  json_object_set_new(json, "train.dropout", json_integer(0));
  s = (seen){0};
  ck_zt_ok(zt_settings_diff(json, &old, see, &s));
  ck_assert_str_eq(s.text, "train.precision: \"fp8\" -> \"fp32\"\n");
  zt_settings back;
  ck_zt_fails(zt_settings_from_json(json, &back), ZT_ERR_DATA);
  ck_message("json", "stored configuration: train.precision = \"fp8\"");
  json_decref(json);
  zt_settings_free(&old);
  zt_settings_free(&now);
}
END_TEST

/* Exactly what the design lists. */
START_TEST(fixed_keys) {
  static const char *const single[] = {
      "run.seed",      "train.batch",     "train.microbatch",
      "train.dropout", "train.precision", "train.optimizer.name"};
  for (int i = 0; i < zt_setting_count; i++) {
    const zt_setting *setting = &zt_setting_table[i];
    bool fixed = zt_starts_with(setting->key, "model.") ||
                 zt_starts_with(setting->key, "data.");
    for (size_t j = 0; j < sizeof single / sizeof *single; j++)
      fixed |= !strcmp(setting->key, single[j]);
    ck_assert_msg(setting->fixed == fixed, "%s", setting->key);
    ck_assert_ptr_eq(zt_setting_find(setting->key), setting);
    ck_assert_msg(setting->value || setting->need, "%s", setting->key);
  }
  ck_assert(zt_setting_is_group("train.optimizer"));
  ck_assert(!zt_setting_is_group("train.opt"));
  ck_assert(!zt_setting_is_group("train.steps"));
  ck_assert(!zt_setting_is_group(""));
}
END_TEST

/* A key without its group, or with two letters swapped, is recognised; where a
 * name stands in two groups either will do. */
START_TEST(suggestions) {
  for (int i = 0; i < zt_setting_count; i++) {
    const char *key = zt_setting_table[i].key, *name = strrchr(key, '.') + 1;
    char wrong[64], right[ZT_SUGGESTION];
    ck_assert_msg(zt_setting_suggest(name, right), "%s", name);
    ck_assert_msg(zt_ends_with(right, name), "%s: %s", name, right);
    size_t n = strlen(key);
    if (strlen(name) < 3)
      continue;
    snprintf(wrong, sizeof wrong, "%s", key);
    wrong[n - 1] = key[n - 2];
    wrong[n - 2] = key[n - 1];
    ck_assert_msg(zt_setting_suggest(wrong, right), "%s", wrong);
    ck_assert_msg(!strcmp(right, key), "%s: %s", wrong, right);
  }
}
END_TEST

START_TEST(for_people) {
  char *text = NULL, *all = NULL, *man = NULL, *keys = NULL;
  size_t size;
  FILE *f = open_memstream(&text, &size);
  ck_zt_ok(zt_settings_explain("train.batch", f));
  fclose(f);
  ck_assert_str_eq(text,
                   "train.batch\n"
                   "  Samples of a step, over all ranks. A multiple of "
                   "train.microbatch.\n"
                   "  Value:     an integer from 1 to 2147483647; samples\n"
                   "  Default:   none, must be given\n"
                   "  On resume: must be as stored\n");
  free(text);
  f = open_memstream(&text, &size);
  ck_zt_ok(zt_settings_explain("train.optimizer", f));
  fclose(f);
  ck_assert_ptr_nonnull(strstr(text, "train.optimizer.clip\n"));
  ck_assert_ptr_null(strstr(text, "train.schedule"));
  free(text);
  ck_zt_fails(zt_settings_explain("train.optimiser", stdout), ZT_ERR_USAGE);
  ck_message("explain", "did you mean 'train.optimizer'?");
  ck_zt_fails(zt_settings_explain("", stdout), ZT_ERR_USAGE);
  const zt_setting *row;
  ck_zt_ok(zt_setting_lookup("data.train", &row));
  ck_assert_str_eq(row->key, "data.train");
  ck_zt_fails(zt_setting_lookup("data.trian", &row), ZT_ERR_USAGE);
  ck_message("lookup", "unknown key 'data.trian'; did you mean 'data.train'?");
  f = open_memstream(&all, &size);
  ck_zt_ok(zt_settings_explain("all", f));
  fclose(f);
  f = open_memstream(&keys, &size);
  zt_settings_list_keys(f);
  fclose(f);
  f = open_memstream(&man, &size);
  zt_settings_man(f);
  fclose(f);
  int lines = 0;
  for (char *c = keys; *c; c++)
    lines += *c == '\n';
  ck_assert_int_eq(lines, zt_setting_count);
  for (int i = 0; i < zt_setting_count; i++) {
    char entry[64];
    snprintf(entry, sizeof entry, ".TP\n.B %s\n", zt_setting_table[i].key);
    ck_assert_ptr_nonnull(strstr(man, entry));
    ck_assert_ptr_nonnull(strstr(all, zt_setting_table[i].key));
  }
  free(all);
  free(keys);
  free(man);
}
END_TEST

static Suite *suite(void) {
  Suite *s = suite_create("settings_table");
  TCase *t = tcase_create("table");
  tcase_add_test(t, differences);
  tcase_add_test(t, fixed_keys);
  tcase_add_test(t, suggestions);
  tcase_add_test(t, for_people);
  suite_add_tcase(s, t);
  return s;
}

int main(void) {
  scratch_begin("check_settings_table");
  int status = unit_main(suite(), CK_FORK);
  scratch_end();
  return status;
}
