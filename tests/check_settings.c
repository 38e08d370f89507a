/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys and their values: defaults, files, -s, checks, printing. */
#include "base/settings_table.h"
#include "base/settings_value.h"
#include "settings_unit.h"

#include <inttypes.h>

/* A value that is not the default, as a file has it. */
static const char *another_value(const zt_setting *setting, char text[64]) {
  const char *last = setting->choices[0];
  switch (setting->type) {
  case ZT_SETTING_BOOL:
    return strcmp(setting->value, "true") ? "true" : "false";
  case ZT_SETTING_INT:
    snprintf(text, 64, "%" PRId64, setting->least + 3);
    if (setting->value && !strcmp(text, setting->value))
      snprintf(text, 64, "%" PRId64, setting->least + 2);
    return text;
  case ZT_SETTING_REAL:
    return "0.1";
  case ZT_SETTING_STRING:
    return "\"a b/\\\"c\\\"\\\\d/\xC3\xBC.h5\"";
  case ZT_SETTING_CHOICE:
    for (int i = 0; i < ZT_MAX_CHOICES && setting->choices[i]; i++)
      last = setting->choices[i];
    snprintf(text, 64, "\"%s\"", last);
    return text;
  case ZT_SETTING_BYTES:
    return "\"192KiB\"";
  case ZT_SETTING_PAIR:
    return "[0.25, 0.125]";
  case ZT_SETTING_STRINGS:
    return "[\"a, b\", \"\\\"c\\\\\"]";
  case ZT_SETTING_REALS:
    return "[0.5, 3.0, 0.001]";
  }
  return "";
}

/* A file that sets one key. */
static void one_key_file(const char *key, const char *value, zt_text *out) {
  int depth = 0;
  const char *dot;
  for (; (dot = strchr(key, '.')); key = dot + 1, depth++)
    zt_text_add(out, "%.*s : {\n", (int) (dot - key), key);
  zt_text_add(out, "%s = %s;\n", key, value);
  while (depth--)
    zt_text_add(out, "}\n");
}

static void ck_written(const zt_settings *s, const zt_setting *setting,
                       const char *value) {
  zt_text text = {0};
  zt_setting_write(s, setting, &text);
  ck_assert_msg(!strcmp(text.data, value), "%s: %s instead of %s", setting->key,
                text.data, value);
  zt_text_free(&text);
}

START_TEST(defaults) {
  zt_settings s;
  ck_zt_ok(zt_settings_init(&s));
  ck_assert_str_eq(s.run.dir, "");
  ck_assert_int_eq(s.run.seed, 1);
  ck_assert(s.run.watchdog_seconds == 600);
  ck_assert_str_eq(s.model.weights, "");
  ck_assert_str_eq(s.model.config, "");
  ck_assert_int_eq(s.data.train.n, 0);
  ck_assert_int_eq(s.data.weights.n, 0);
  ck_assert(s.data.valid_fraction == 0);
  ck_assert_str_eq(s.data.valid, "");
  ck_assert_int_eq(s.data.task, ZT_TASK_SPAN_CORRUPTION);
  ck_assert_int_eq(s.data.source_length, 512);
  ck_assert_int_eq(s.data.target_length, 114);
  ck_assert_int_eq(s.data.length, 1024);
  ck_assert(s.data.packing);
  ck_assert_int_eq(s.data.order, ZT_ORDER_SHUFFLED);
  ck_assert_int_eq(s.train.steps, 0);
  ck_assert_int_eq(s.train.batch, 0);
  ck_assert_int_eq(s.train.microbatch, 0);
  ck_assert(s.train.dropout == 0);
  ck_assert_int_eq(s.train.precision, ZT_FP32);
  ck_assert(s.train.recompute);
  ck_assert_int_eq(s.train.eval_every, 0);
  ck_assert_int_eq(s.train.max_skips, 10);
  ck_assert_int_eq(s.train.optimizer.name, ZT_ADAMW);
  ck_assert(s.train.optimizer.lr == 1e-3);
  ck_assert(s.train.optimizer.betas[0] == 0.9);
  ck_assert(s.train.optimizer.betas[1] == 0.999);
  ck_assert(s.train.optimizer.eps == 1e-8);
  ck_assert(s.train.optimizer.weight_decay == 0.01);
  ck_assert_int_eq(s.train.optimizer.decay_on, ZT_DECAY_MATRICES);
  ck_assert(s.train.optimizer.clip == 1);
  ck_assert_int_eq(s.train.schedule.name, ZT_SCHEDULE_LINEAR);
  ck_assert_int_eq(s.train.schedule.warmup, 100);
  ck_assert(s.train.schedule.min_lr == 0);
  ck_assert_int_eq(s.zero.unit_limit, 0);
  ck_assert_int_eq(s.zero.prefetch, 1);
  ck_assert_int_eq(s.restart.every_steps, 100);
  ck_assert(s.restart.every_minutes == 0);
  ck_assert_int_eq(s.restart.keep, 3);
  ck_assert_int_eq(s.restart.keep_every, 0);
  ck_assert(s.restart.async);
  ck_assert_int_eq(s.restart.ranks_per_part, 0);
  ck_assert_uint_eq(s.restart.staging, (size_t) 24 << 20);
  ck_assert_int_eq(s.runtime.device, ZT_DEVICE_AUTO);
  ck_assert_int_eq(s.runtime.comm, ZT_COMM_AUTO);
  ck_assert_int_eq(s.runtime.threads, 0);
  ck_assert_str_eq(s.runtime.tuning, "");
  ck_assert_int_eq(s.log.every_steps, 10);
  ck_assert(s.log.tensorboard);
  zt_settings_free(&s);
  zt_settings_free(&s);
}
END_TEST

static zt_status count_change(void *context, const zt_settings_change *change) {
  ck_assert_str_ne(change->was, change->is);
  ++*(int *) context;
  return ZT_OK;
}

/* Each key alone, in a file, by -s, and through JSON: that one changes and no
 * other. */
START_TEST(every_key) {
  const zt_setting *setting = &zt_setting_table[_i];
  char value_text[64], option[128];
  const char *value = another_value(setting, value_text);
  bool single = setting->type == ZT_SETTING_CHOICE && !setting->choices[1];
  zt_text text = {0};
  one_key_file(setting->key, value, &text);
  snprintf(option, sizeof option, "%s=%s", setting->key, value);
  const char *options[] = {option};
  zt_settings by_file, by_option, init;
  json_t *json, *init_json;
  ck_zt_ok(read_text(text.data, &by_file));
  ck_zt_ok(zt_settings_read(put("empty.cfg", ""), options, 1, &by_option));
  ck_zt_ok(zt_settings_init(&init));
  ck_written(&by_file, setting, value);
  ck_written(&by_option, setting, value);

  ck_zt_ok(zt_settings_to_json(&init, &init_json));
  ck_zt_ok(zt_settings_to_json(&by_file, &json));
  ck_assert_uint_eq(json_object_size(json), (size_t) zt_setting_count);
  /* Another optimizer decays otherwise by default. */
  const bool other = !strcmp(setting->key, "train.optimizer.name");
  const int wanted = single ? 0 : other ? 2 : 1;
  int changes = 0;
  ck_zt_ok(zt_settings_diff(init_json, &by_file, count_change, &changes));
  ck_assert_int_eq(changes, wanted);
  ck_zt_ok(zt_settings_diff(init_json, &by_option, count_change, &changes));
  ck_assert_int_eq(changes, 2 * wanted);
  zt_settings back;
  ck_zt_ok(zt_settings_from_json(json, &back));
  ck_written(&back, setting, value);
  changes = 0;
  ck_zt_ok(zt_settings_diff(json, &back, count_change, &changes));
  ck_assert_int_eq(changes, 0);
  json_decref(json);
  json_decref(init_json);
  zt_settings_free(&by_file);
  zt_settings_free(&by_option);
  zt_settings_free(&init);
  zt_settings_free(&back);
  zt_text_free(&text);
}
END_TEST

/* All keys changed at once: print, read, print. */
START_TEST(round_trip) {
  static char options_text[128][128];
  const char *options[128];
  ck_assert_int_lt(zt_setting_count, 128);
  for (int i = 0; i < zt_setting_count; i++) {
    char value[64];
    snprintf(options_text[i], sizeof options_text[i], "%s = %s",
             zt_setting_table[i].key,
             another_value(&zt_setting_table[i], value));
    options[i] = options_text[i];
  }
  zt_settings s, back;
  for (int n = 0; n <= zt_setting_count; n += zt_setting_count) {
    ck_zt_ok(zt_settings_read(put("run.cfg", ""), options, n, &s));
    char *text = printed(&s);
    ck_zt_ok(read_text(text, &back));
    char *again = printed(&back);
    ck_assert_str_eq(text, again);
    free(again);
    zt_settings_free(&back);
    /* The comments with origins change nothing. */
    FILE *f = fopen(scratch_path("origin.cfg"), "w");
    ck_zt_ok(zt_settings_print(&s, f, true));
    fclose(f);
    ck_zt_ok(zt_settings_read(scratch_path("origin.cfg"), NULL, 0, &back));
    again = printed(&back);
    ck_assert_str_eq(text, again);
    free(again);
    free(text);
    zt_settings_free(&back);
    zt_settings_free(&s);
  }
}
END_TEST

START_TEST(origins) {
  const char *options[] = {"train.steps=5", "log.tensorboard=False"};
  zt_settings s;
  ck_zt_ok(zt_settings_read(
      put("run.cfg", "\nrun = { seed = 3; };\ntrain = {\n steps = 4;\n"
                     " optimizer = { lr = 1; betas = [0, 0.99] } }"),
      options, 2, &s));
  ck_assert(!s.log.tensorboard); /* in any case, as in a file */
  ck_assert(s.train.optimizer.lr == 1);
  ck_assert(s.train.optimizer.betas[0] == 0);
  ck_assert(s.train.optimizer.betas[1] == 0.99);
  char *text = NULL;
  size_t size;
  FILE *f = open_memstream(&text, &size);
  ck_zt_ok(zt_settings_print(&s, f, true));
  fclose(f);
  static const char *const expected[] = {
      "  seed = 3;                               // ",
      "/run.cfg:2\n",
      "  steps = 5;                              // command line\n",
      "    lr = 1.0;                             // ",
      "/run.cfg:5\n",
      "  // batch is not given\n",
      "  prefetch = 1;                           // default\n"};
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
    ck_assert_msg(strstr(text, expected[i]), "no '%s'", expected[i]);
  free(text);
  f = fopen("/dev/full", "w");
  if (f) {
    ck_zt_fails(zt_settings_print(&s, f, true), ZT_ERR_IO);
    ck_message("full", "cannot write the configuration: No space left");
    fclose(f);
  }
  zt_settings_free(&s);
}
END_TEST

static const struct {
  const char *option, *part;
} wrong_options[] = {
    {"train.lrr=1",
     "-s: unknown key 'train.lrr'; did you mean 'train.optimizer.lr'?"},
    {"lr=1", "did you mean 'train.optimizer.lr'?"},
    {"train.learning_rate=1", "did you mean 'train.optimizer.lr'?"},
    {"train.micro_batch=1", "did you mean 'train.microbatch'?"},
    {"train.batchsize=1", "did you mean 'train.batch'?"},
    {"optimizer.clip=1", "did you mean 'train.optimizer.clip'?"},
    {"train.stpes=1", "did you mean 'train.steps'?"},
    {"qqq=1", "unknown key 'qqq' ('ztrain --explain all'"},
    {"=1", "unknown key ''"},
    {"train=1", "train is a group"},
    {"train.steps", "expected KEY=VALUE, found 'train.steps'"},
    {"", "expected KEY=VALUE"},
    {"train.steps=", "expected an integer from 1 to 2^62, found \"\""},
    {"train.steps=1.0", "expected an integer from 1 to 2^62, found 1.0"},
    {"train.steps=ten", "found \"ten\""},
    {"train.steps=1 2", "found \"1 2\""},
    {"train.steps=0", "train.steps = 0: must be an integer from 1 to 2^62"},
    {"train.steps=99999999999999999999", "expected an integer"},
    {"train.steps=4611686018427387905", "must be an integer from 1 to 2^62"},
    {"train.batch=2147483648", "must be an integer from 1 to 2147483647"},
    {"run.seed=-1", "must be an integer, 0 or more"},
    {"restart.keep=0", "must be an integer from 1 to"},
    {"train.dropout=1", "must be a number, at least 0 and below 1"},
    {"train.dropout=-0.1", "must be a number, at least 0 and below 1"},
    {"train.dropout=nan", "expected a number"},
    {"train.dropout=0x1p-3", "expected a number"},
    {"train.optimizer.lr=1e999", "train.optimizer.lr: not a finite number"},
    {"train.optimizer.lr=inf", "expected a number"},
    {"train.optimizer.lr=-1", "0 or more"},
    {"train.optimizer.lr=\"1\"", "found \"1\""},
    {"train.optimizer.eps=0", "more than 0"},
    {"train.optimizer.betas=0.9", "expected two numbers [a, b]"},
    {"train.optimizer.betas=[0.9, 1.0]", "below 1"},
    {"train.optimizer.betas=[0.9; 0.5]", "expected two numbers"},
    {"train.optimizer.betas=[0.9, 0.5, 0.1]", "expected two numbers"},
    {"train.optimizer.betas=[0.9, 1e999]", "below 1"},
    {"restart.async=yes", "expected true or false, found \"yes\""},
    {"restart.async=1", "expected true or false, found 1"},
    {"restart.staging=64Mib", "expected a size such as \"64MiB\""},
    {"restart.staging=1KiB", "must be a size such as \"64MiB\""},
    {"restart.staging=-1", "expected a size"},
    {"train.precision=fp16", "must be \"fp32\" or \"bf16\""},
    {"data.task=span",
     "must be \"span-corruption\", \"seq2seq\" or \"causal\""},
    {"data.task=a\nb", "data.task = \"a?b\": must be"},
    {"train.precision=\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC"
     "\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC"
     "\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC",
     "\xC3\xBC...\": must be"},
    {"run.dir=a\nb", "run.dir: has a control character"},
    {"run.dir=\xFF\xFE", "run.dir: not UTF-8 text"},
};

START_TEST(wrong_option) {
  const char *option = wrong_options[_i].option;
  zt_settings s;
  ck_zt_fails(zt_settings_read(put("run.cfg", NEEDED), &option, 1, &s),
              ZT_ERR_CONFIG);
  ck_message(option, wrong_options[_i].part);
}
END_TEST

START_TEST(right_option) {
  static const char *const options[] = {
      "run.dir=plain text",           "model.weights=\"quoted\"",
      "data.train= \"a=b\" ",         "data.valid=",
      "train.steps=5000000000",       "train.batch=0x10",
      "train.microbatch= 8L",         "train.dropout=.5",
      "restart.staging=1GiB",         "train.precision=\"fp32\"",
      "log.tensorboard=false",        "train.optimizer.betas=(0, 0.5)",
      "run.seed=9223372036854775807", "runtime.tuning=\\\"",
      "train.optimizer.lr = -0.0",    "data.valid=last wins"};
  zt_settings s;
  ck_zt_ok(zt_settings_read(put("run.cfg", ""), options,
                            sizeof options / sizeof *options, &s));
  ck_assert_str_eq(s.run.dir, "plain text");
  ck_assert_str_eq(s.model.weights, "quoted");
  ck_assert_int_eq(s.data.train.n, 1);
  ck_assert_str_eq(s.data.train.at[0], "a=b");
  ck_assert_str_eq(s.data.valid, "last wins");
  ck_assert_int_eq(s.train.steps, 5000000000);
  ck_assert_int_eq(s.train.batch, 16);
  ck_assert_int_eq(s.train.microbatch, 8);
  ck_assert(s.train.dropout == 0.5);
  ck_assert_uint_eq(s.restart.staging, (size_t) 1 << 30);
  ck_assert(!s.log.tensorboard);
  ck_assert(s.train.optimizer.betas[0] == 0);
  ck_assert(s.train.optimizer.betas[1] == 0.5);
  ck_assert_int_eq(s.run.seed, INT64_MAX);
  ck_assert_str_eq(s.runtime.tuning, "\\\"");
  zt_settings_free(&s);
}
END_TEST

/* A problem of several keys, and who needs which. */
static const struct {
  const char *option;
  unsigned needs;
  const char *part; /* NULL: fine */
} checks[] = {
    {"log.every_steps=1", ZT_NEED_TO_TRAIN, NULL},
    {"run.dir=", ZT_NEED_TO_TRAIN, "run.dir is missing (see 'ztrain --explain"},
    {"run.dir=", ZT_NEED_TO_PLAN, NULL},
    {"data.train=", ZT_NEED_DATA, "data.train is missing"},
    {"model.weights=", ZT_NEED_WEIGHTS, "model.weights is missing"},
    {"model.weights=", ZT_NEED_TO_PLAN,
     "model.weights or model.config is missing"},
    {"model.config=c.json", ZT_NEED_TO_TRAIN, "exclude each other"},
    {"train.batch=7", ZT_NEED_TO_TRAIN, "take 6 or 8"},
    {"train.batch=1", ZT_NEED_TO_TRAIN, "a batch of 2 or a micro-batch of 1"},
    {"train.steps=4611686018427387904", ZT_NEED_TO_TRAIN, "2^62 samples"},
    {"data.task=seq2seq", ZT_NEED_TO_TRAIN, NULL},
    {"data.length=77", 0, "data.length is for task \"causal\" alone"},
    {"data.task=causal", ZT_NEED_TO_TRAIN, NULL},
    {"data.train=[\"a\",b]", ZT_NEED_TO_TRAIN, NULL},
    {"data.weights=[1]", ZT_NEED_TO_TRAIN, NULL},
    {"data.weights=[1, 2]", 0, "has 2 numbers for the 1 files of data.train"},
    {"train.eval_every=5", 0, "set data.valid"},
    {"train.schedule.min_lr=0.1", 0, "above train.optimizer.lr"},
    {"runtime.device=cuda", 0, NULL},
};

START_TEST(check_keys) {
  zt_settings s;
  const char *option = checks[_i].option;
  ck_zt_ok(zt_settings_read(put("run.cfg", NEEDED), &option, 1, &s));
  if (checks[_i].part) {
    ck_zt_fails(zt_settings_check(&s, checks[_i].needs), ZT_ERR_CONFIG);
    ck_message(option, checks[_i].part);
  } else {
    ck_zt_ok(zt_settings_check(&s, checks[_i].needs));
  }
  zt_settings_free(&s);
}
END_TEST

/* Each task has its own lengths. */
START_TEST(lengths_of_other_tasks) {
  static const char *const options[][2] = {
      {"data.task=causal", "data.source_length=64"},
      {"data.task=causal", "data.target_length=64"}};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    zt_settings s;
    ck_zt_ok(zt_settings_read(put("run.cfg", NEEDED), options[i], 2, &s));
    ck_zt_fails(zt_settings_check(&s, 0), ZT_ERR_CONFIG);
    ck_message(options[i][1], "is not for task \"causal\": set data.length");
    zt_settings_free(&s);
  }
}
END_TEST

START_TEST(check_places) {
  zt_settings s;
  ck_zt_ok(read_text("\n\ntrain = {\n  batch = 63;\n  microbatch = 8; };", &s));
  ck_zt_fails(zt_settings_check(&s, 0), ZT_ERR_CONFIG);
  ck_message("batch", "/run.cfg:4: train.batch = 63 is not a multiple of "
                      "train.microbatch = 8: take 56 or 64");
  ck_zt_fails(zt_settings_check(&s, ZT_NEED_TO_TRAIN), ZT_ERR_CONFIG);
  ck_message("needs", "/run.cfg: run.dir is missing");
  ck_message("needs", " (and 4 more)");
  zt_settings_free(&s);
  ck_zt_ok(read_text("model = { config = \"c.json\"; };", &s));
  ck_zt_ok(zt_settings_check(&s, ZT_NEED_MODEL));
  ck_zt_fails(zt_settings_check(&s, ZT_NEED_WEIGHTS), ZT_ERR_CONFIG);
  ck_message("weights", "model.config is for planning alone");
  json_t *json;
  zt_settings other;
  ck_zt_ok(zt_settings_to_json(&s, &json));
  ck_zt_ok(zt_settings_from_json(json, &other));
  ck_zt_fails(zt_settings_check(&other, ZT_NEED_RUN), ZT_ERR_CONFIG);
  ck_message("no file", "configuration: run.dir is missing");
  json_decref(json);
  zt_settings_free(&s);
  zt_settings_free(&other);
}
END_TEST

/* The files we install are right, and print as what they are. */
START_TEST(samples) {
  static const char *const names[] = {"t5-small.cfg", "t5-finetune.cfg",
                                      "llama-finetune.cfg"};
  static const zt_task tasks[] = {ZT_TASK_SPAN_CORRUPTION, ZT_TASK_SEQ2SEQ,
                                  ZT_TASK_CAUSAL};
  const char *source = getenv("ZT_SRC");
  char path[512];
  zt_settings s;
  snprintf(path, sizeof path, "%s/config/%s", source ? source : ".", names[_i]);
  ck_zt_ok(zt_settings_read(path, NULL, 0, &s));
  ck_zt_ok(zt_settings_check(&s, ZT_NEED_TO_TRAIN));
  ck_assert_int_eq(s.data.task, tasks[_i]);
  zt_settings_free(&s);
}
END_TEST

START_TEST(fault_point) {
  zt_settings s;
  ck_assert_int_eq(setenv("ZT_FAULT", "config.read@0", 1), 0);
  ck_zt_ok(zt_fault_arm(0));
  ck_zt_fails(read_text(NEEDED, &s), ZT_ERR_IO);
  ck_assert_ptr_null(s.origins);
}
END_TEST

static Suite *suite(void) {
  Suite *s = suite_create("settings");
  TCase *t = tcase_create("keys");
  tcase_set_timeout(t, 60);
  tcase_add_test(t, defaults);
  tcase_add_loop_test(t, every_key, 0, zt_setting_count);
  tcase_add_test(t, round_trip);
  tcase_add_test(t, origins);
  tcase_add_loop_test(t, wrong_option, 0,
                      sizeof wrong_options / sizeof *wrong_options);
  tcase_add_test(t, right_option);
  tcase_add_loop_test(t, check_keys, 0, sizeof checks / sizeof *checks);
  tcase_add_test(t, lengths_of_other_tasks);
  tcase_add_test(t, check_places);
  tcase_add_loop_test(t, samples, 0, 3);
  tcase_add_test(t, fault_point);
  suite_add_tcase(s, t);
  return s;
}

int main(void) {
  scratch_begin("check_settings");
  int status = unit_main(suite(), CK_FORK);
  scratch_end();
  return status;
}
