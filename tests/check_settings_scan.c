/* SPDX-License-Identifier: BSD-3-Clause */
/* The text of a configuration file: places of errors, integers, includes, and
 * what is no configuration at all. */
#include "base/random.h"
#include "base/text.h"
#include "settings_unit.h"

#include <libconfig.h>
#include <sys/stat.h>

/* The i-th of a fixed sequence of random numbers, below n. */
static size_t draw(uint32_t i, uint32_t j, size_t n) {
  uint32_t out[4];
  zt_philox(1, (uint32_t[4]){i, j, 0, 0}, out);
  return (size_t) zt_below(out[0], out[1], n);
}

static const struct {
  const char *text, *part;
} wrong[] = {
    /* keys */
    {"\ntrain = {\n lrr = 1;\n};",
     "/run.cfg:3: unknown key 'train.lrr'; did you mean 'train.optimizer.lr'?"},
    {"trian = { steps = 1; };",
     "/run.cfg:1: unknown key 'trian'; did you mean"},
    {"optimizer = { lr = 1.0; };", "did you mean 'train.optimizer'?"},
    {"steps = 5;", "did you mean 'train.steps'?"},
    {"train = { qqqq = { lr = 1.0; lr2 = 1; }; };",
     "unknown key 'train.qqqq' ('ztrain --explain all' has every key)"},
    {"train = 5;", "/run.cfg:1: train is a group of keys: write train = { ..."},
    {"train = { steps = { a = 1; }; };", "1 to 2^62, found a group"},
    {"train = { steps = 1;\n batch = 2;\n steps = 3; };",
     "/run.cfg:3: 'steps' is set twice, first in line 1"},
    {"run = { seed = 1; };\n\nrun = { seed = 1; };",
     "/run.cfg:3: 'run' is set twice, first in line 1"},
    /* types and ranges */
    {"train = { steps = \"5\"; };", "expected an integer from 1 to 2^62, found "
                                    "\"5\""},
    {"train = { steps = 5.0; };", "found 5.0"},
    {"train = { steps = true; };", "found true"},
    {"train = { steps = [5]; };", "found a list"},
    {"train = { optimizer = { lr = \"1\"; }; };", "expected a number"},
    {"train = { optimizer = { lr = 1e999; }; };", "not a finite number"},
    {"train = { optimizer = { lr = -1; }; };", "lr = -1: must be a number, 0"},
    {"train = { optimizer = { betas = [0.9]; }; };", "found a list"},
    {"train = { optimizer = { betas = [0.9, true]; }; };", "found a list"},
    {"train = { optimizer = { betas = (0.9, [1]); }; };", "found a list"},
    {"train = { dropout = 1; };", "dropout = 1: must be a number, at least 0"},
    {"train = { recompute = 1; };", "expected true or false, found 1"},
    {"train = { precision = \"fp64\"; };", "must be \"fp32\" or \"bf16\""},
    {"restart = { staging = 64; };", "must be a size such as \"64MiB\""},
    {"run = { dir = 5; };", "run.dir: expected text in quotes, found 5"},
    {"run = { dir = \"a\\x01\"; };", "run.dir: has a control character"},
    {"run = { dir = \"\xFF\"; };", "run.dir: not UTF-8 text"},
    /* integers */
    {"\ntrain = { steps = 4294967296; };",
     "/run.cfg:2: integer 4294967296 has more than 32 bits: write it with an "
     "L, 4294967296L"},
    {"run = { seed = 2147483648; };", "2147483648L"},
    {"run = { seed = -2147483649; };", "-2147483649L (and 1 more)"},
    {"run = { seed = 0xFFFFFFFF; };", "0xFFFFFFFFL"},
    {"run = { seed = 99999999999999999999; };", "more than 64 bits"},
    {"run = { seed = 9223372036854775808L; };", "more than 64 bits"},
    {"run = { seed = 0x8000000000000000L; };", "more than 64 bits"},
    {"run = { seed = -9223372036854775809L; };", "more than 64 bits"},
    {"train = { steps = (1, 4294967296); };", "4294967296L (and 1 more)"},
    /* tokens */
    {"run = { dir = runs; };", "runs: text needs quotes"},
    {"restart = { async = yes; };", "yes: text needs quotes; bare are true"},
    {"restart = { staging = 64MiB; };", "64MiB is not a number"},
    {"train = { steps = 10_000; };", "10_000 is not a number"},
    {"train = { steps = 1e; };", "1e is not a number"},
    {"train = { dropout = .; };", ". is not a number"},
    {"train = { dropout = 0.1.2; };", "0.1.2 is not a number"},
    {"train = { steps = 0b11; };", "0b11 is not a number"},
    {"train.steps = 5;",
     "dots are for -s; here write train = { steps = ...; };"},
    {"\nrun = { dir = \"a;\n};", "/run.cfg:2: a string is not closed"},
    {"run = { dir = \"a\\\"; };", "a string is not closed on its line"},
    {"\n/* run = 5;\n", "/run.cfg:2: a comment is opened with /* and never"},
    {"/*/", "a comment is opened with /* and never"},
    {"\ntrain = {\n steps = 5;\n", "/run.cfg:2: this '{' is never closed"},
    {"train = {\n steps = 5; ]", "/run.cfg:2: ']' closes the '{' of line 1"},
    {"train = { steps = 5; }; };", "'}' closes nothing"},
    {"a=((((((((((((((((((((", "nested deeper"},
    {"train = { steps = ; };", "/run.cfg:1: syntax error in or before 'train"},
    {"run = { seed 5; };", "/run.cfg:1: expected = after seed"},
    {"run\n{ seed = 5; };", "/run.cfg:1: expected = after run"},
    {"run = { dir \"a\"; };", "expected = after dir"},
    {"run = { seed = 5; };\nrun data = { };", "/run.cfg:2: expected = after"},
    {"run = { seed };", "expected = after seed"},
    {"run = { };\nrun", "/run.cfg:2: expected = after run"},
    {"run = { seed = 5; }; = 7;", "syntax error"},
    {"run = { seed =\n\n", "/run.cfg:1: this '{' is never closed"},
    {"seed =\n\n\n", "/run.cfg:1: syntax error in or before 'seed ='"},
    {"$x = 5;", "unexpected '$'"},
    {"run \x80 = 5;", "unexpected byte 0x80 outside quotes"},
    {" run = { @include \"x\" }", "expected @include \"FILE\" at the start"},
    {"@include x", "expected @include \"FILE\" at the start"},
    {"@include \"x", "@include needs the name of a file in quotes"},
    {"@include \"none.cfg\"", "/run.cfg:1: @include: "},
    {"@include \"none.cfg\"", "/none.cfg: cannot read: No"},
    {"@include \".\"", "a directory, not a configuration file"},
    {"@include \"/dev/null\"", "not a regular file"},
    {"\n@include \"run.cfg\"",
     "/run.cfg:2: @include: the file includes itself"},
    /* the first, and how many more */
    {"run = { seed = -1; };\nx = 1;\ntrain = { steps = 0.5; lr = 1; };",
     "/run.cfg:1: run.seed = -1: must be an integer, 0 or more (and 3 more)"},
    {"zzz = 1;\nrun = { seed = 4294967296; };",
     "/run.cfg:1: unknown key 'zzz' ('ztrain --explain all' has every key) "
     "(and 1 more)"},
};

START_TEST(wrong_text) {
  ck_refused(wrong[_i].text, wrong[_i].part);
}
END_TEST

static const struct {
  const char *text;
  int64_t seed;
} right[] = {
    {"run = { seed = 7; };", 7},
    {"run : { seed : 7, }", 7},
    {"run={seed=7}", 7},
    {"run = { seed = 7; }; # comment at the end", 7},
    {"run = { seed = 7; }; // comment at the end", 7},
    {"run = { seed = 7; }; /* in\n two lines */", 7},
    {"# run = { seed = 4294967296; };\nrun = { seed = 7; };", 7},
    {"/* 4294967296 */ run = /* \" */ { seed // {\n = 7; };", 7},
    {"run = { dir = \"4294967296 /* # // \\\" } @\"; seed = 7; };", 7},
    {"run = {\r\n  seed = 7; # comment\r\n};\r\n", 7},
    {"\xEF\xBB\xBFrun = { seed = 7; };", 7},
    {"run = { seed = 2147483647; };", INT32_MAX},
    {"run = { seed = 4294967296L; };", (int64_t) 1 << 32},
    {"run = { seed = 4294967296LL; };", (int64_t) 1 << 32},
    {"run = { seed = 9223372036854775807L; };", INT64_MAX},
    {"run = { seed = 0x7FFFFFFF; };", INT32_MAX},
    {"run = { seed = 0xFFFFFFFFL; };", UINT32_MAX},
    {"run = { seed = +7; };", 7},
    {"run = { seed = 010; };", 10},
    {"RUN = 1;", -1},
    {"", 1},
    {"\n\n", 1},
    {"# nothing", 1},
    {"run = { };", 1},
    {"train = { optimizer = { betas = [0, 0.999]; lr = 1; eps = 1e-7; }; }", 1},
    {"train = { optimizer = { betas = (0.5, 0.25); lr = 0x1; }; dropout = .5 }",
     1},
};

START_TEST(right_text) {
  zt_settings s;
  if (right[_i].seed < 0) { /* names have a case */
    ck_refused(right[_i].text, "unknown key 'RUN'");
    return;
  }
  ck_zt_ok(read_text(right[_i].text, &s));
  ck_assert_int_eq(s.run.seed, right[_i].seed);
  zt_settings_free(&s);
}
END_TEST

/* Why the integers are looked at before libconfig: 1.5 wraps them in silence.
 * A later one may be right, but not silently wrong in another way. */
START_TEST(linked_libconfig) {
  static const struct {
    const char *text;
    int64_t right, wrapped;
  } cases[] = {{"a = 4294967296;", (int64_t) 1 << 32, 0},
               {"a = 2147483648;", 2147483648, INT32_MIN},
               {"a = -2147483649;", -2147483649, INT32_MAX},
               {"a = 0xFFFFFFFF;", UINT32_MAX, -1},
               {"a = 99999999999999999999;", INT64_MAX, -1},
               {"a = 4294967296L;", (int64_t) 1 << 32, (int64_t) 1 << 32},
               {"a = 0xFFFFFFFFL;", UINT32_MAX, UINT32_MAX},
               {"a = -9223372036854775808L;", INT64_MIN, INT64_MIN}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    config_t config;
    config_init(&config);
    if (config_read_string(&config, cases[i].text)) {
      config_setting_t *a = config_lookup(&config, "a");
      int64_t value = config_setting_type(a) == CONFIG_TYPE_INT
                          ? config_setting_get_int(a)
                          : config_setting_get_int64(a);
      ck_assert_msg(value == cases[i].right || value == cases[i].wrapped,
                    "%s is %lld", cases[i].text, (long long) value);
      if (LIBCONFIG_VER_MAJOR == 1 && LIBCONFIG_VER_MINOR == 5)
        ck_assert_int_eq(value, cases[i].wrapped);
    } else {
      ck_assert_int_ne(LIBCONFIG_VER_MINOR, 5);
    }
    config_destroy(&config);
  }
}
END_TEST

/* Relative to the file they stand in; lines are counted in each. */
START_TEST(includes) {
  zt_settings s;
  char absolute[PATH_MAX + 16];
  ck_assert_int_eq(mkdir(scratch_path("sub"), 0777), 0);
  put("sub/a.cfg", "run = { seed = 5; }; # no newline\n\n@include \"b.cfg\"");
  put("sub/b.cfg", "zero = { prefetch = 2; };\n@include \"../c.cfg\"\n");
  put("c.cfg", "log = {\n  @include \"sub/empty.cfg\"\n every_steps = 7; };");
  put("sub/empty.cfg", "");
  ck_zt_ok(read_text("\n @include\t\"sub/a.cfg\" train = { steps = 9; };", &s));
  ck_assert_int_eq(s.run.seed, 5);
  ck_assert_int_eq(s.zero.prefetch, 2);
  ck_assert_int_eq(s.log.every_steps, 7);
  ck_assert_int_eq(s.train.steps, 9);
  zt_settings_free(&s);

  static const char text[] = "\n@include \"sub/a.cfg\"\ntrain = { bad = 1; };";
  ck_refused(text, "/run.cfg:3: unknown key 'train.bad'");
  put("c.cfg", "\n\nlog = { every_steps = 0; };");
  ck_refused(text, "/sub/../c.cfg:3: log.every_steps = 0");
  put("c.cfg", "\nrun = { seed = 6; };");
  ck_refused(text, "/sub/../c.cfg:2: 'run' is set twice, first in ");
  put("c.cfg", "x = 4294967296; /* open");
  ck_refused(text, "/sub/../c.cfg:1: integer 4294967296 has");
  put("c.cfg", "@include \"sub/a.cfg\"");
  ck_refused(text, "/sub/../c.cfg:1: @include: the file includes itself");
  put("c.cfg", "@include \"sub/none.cfg\"");
  ck_refused(text, "/sub/../sub/none.cfg: cannot read: No");
  put("c.cfg", "@include \"\"");
  ck_refused(text, "a directory, not a configuration file");

  char *whole = realpath(scratch_path("sub/empty.cfg"), NULL);
  ck_assert_ptr_nonnull(whole);
  snprintf(absolute, sizeof absolute, "@include \"%s\"", whole);
  free(whole);
  ck_zt_ok(read_text(absolute, &s));
  zt_settings_free(&s);
}
END_TEST

/* Two files that include the next twice, thirty deep, end soon. */
START_TEST(many_includes) {
  char name[32], text[96];
  for (int i = 0; i < 30; i++) {
    snprintf(name, sizeof name, "f%d.cfg", i);
    snprintf(text, sizeof text, "@include \"f%d.cfg\"\n@include \"f%d.cfg\"\n",
             i + 1, i + 1);
    put(name, text);
  }
  put("f30.cfg", "");
  ck_refused("@include \"f0.cfg\"", "in each other");
  put("f4.cfg", "");
  for (int i = 0; i < 4; i++) {
    snprintf(name, sizeof name, "f%d.cfg", i);
    snprintf(text, sizeof text, "@include \"f4.cfg\"\n@include \"f%d.cfg\"\n",
             i + 1);
    put(name, text);
  }
  zt_settings s;
  ck_zt_ok(read_text("@include \"f0.cfg\"", &s));
  zt_settings_free(&s);
  zt_text wide = {0};
  for (int i = 0; i < 100; i++)
    zt_text_add(&wide, "@include \"f4.cfg\"\n");
  ck_refused(wide.data, "/run.cfg:64: @include: more than 64 files");
  zt_text_free(&wide);
}
END_TEST

START_TEST(no_file) {
  zt_settings s;
  ck_zt_fails(zt_settings_read(scratch_path("none.cfg"), NULL, 0, &s),
              ZT_ERR_NOINPUT);
  ck_message("none", "/none.cfg: cannot read: No such file");
  ck_zt_fails(zt_settings_read(scratch, NULL, 0, &s), ZT_ERR_NOINPUT);
  ck_message("folder", ": a directory, not a configuration file");
  ck_zt_fails(zt_settings_read("", NULL, 0, &s), ZT_ERR_NOINPUT);
  ck_zt_fails(zt_settings_read("/dev/null", NULL, 0, &s), ZT_ERR_NOINPUT);
  ck_assert_int_eq(mkfifo(scratch_path("fifo"), 0600), 0);
  ck_zt_fails(zt_settings_read(scratch_path("fifo"), NULL, 0, &s),
              ZT_ERR_NOINPUT);
  ck_message("fifo", "not a regular file");
  char longest[3000];
  memset(longest, 'x', sizeof longest);
  longest[sizeof longest - 1] = '\0';
  ck_zt_fails(zt_settings_read(longest, NULL, 0, &s), ZT_ERR_NOINPUT);
  ck_message("long name", "...xxx");
  const char *option = longest;
  ck_zt_fails(zt_settings_read(put("run.cfg", ""), &option, 1, &s),
              ZT_ERR_CONFIG);
  ck_message("long option", "expected KEY=VALUE, found 'xxx");
  longest[2000] = '=';
  ck_zt_fails(zt_settings_read(put("run.cfg", ""), &option, 1, &s),
              ZT_ERR_CONFIG);
  ck_message("long key", "unknown key 'xxx");
  memcpy(longest, "train.steps=", 12);
  ck_zt_fails(zt_settings_read(put("run.cfg", ""), &option, 1, &s),
              ZT_ERR_CONFIG);
  ck_message("long value", "train.steps: expected an integer");
  char path[6000];
  memset(path, 'x', sizeof path);
  path[sizeof path - 1] = '\0';
  memcpy(path, "run.dir=", 8);
  option = path;
  ck_zt_fails(zt_settings_read(put("run.cfg", ""), &option, 1, &s),
              ZT_ERR_CONFIG);
  ck_message("long path", "-s: run.dir: longer than 4095 bytes");
}
END_TEST

/* What is large, or no text: an answer at once. */
START_TEST(no_configuration) {
  enum { MIB = 1 << 20 };
  zt_settings s;
  char *bytes = malloc(MIB + 1);
  ck_assert_ptr_nonnull(bytes);
  memset(bytes, '\n', MIB + 1);
  ck_zt_ok(zt_settings_read(put_bytes("run.cfg", bytes, MIB), NULL, 0, &s));
  zt_settings_free(&s);
  ck_zt_fails(
      zt_settings_read(put_bytes("run.cfg", bytes, MIB + 1), NULL, 0, &s),
      ZT_ERR_CONFIG);
  ck_message("large", "too large, a configuration has at most 1048576 bytes");
  for (int i = 0; i < MIB; i++)
    bytes[i] = "(x={1.,\"[0;= #"[draw((uint32_t) i, 0, 14)];
  bytes[MIB] = '\0';
  ck_refused(bytes, "");
  for (int i = 0; i < MIB; i++)
    bytes[i] = "a=1;"[i % 4];
  ck_refused(bytes, "'a' is set twice, first in line 1 (and ");
  for (int i = 0; i < MIB / 8; i++)
    memcpy(bytes + 8 * i,
           (char[]){'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676 % 26,
                    'a' + i / 17576 % 26, '=', '1', ';', ' '},
           8);
  ck_refused(bytes, "more than 4096 keys");
  memset(bytes, 'a', MIB);
  ck_refused(bytes, "a name of 1048576 letters");
  memset(bytes, '1', MIB);
  ck_refused(bytes, "has more than 64 bits");
  free(bytes);
  ck_zt_fails(
      zt_settings_read(put_bytes("run.cfg", "a=1;\0b=1;", 9), NULL, 0, &s),
      ZT_ERR_CONFIG);
  ck_message("zero", "not a text file (a zero byte at 4)");
  ck_refused("\x7F"
             "ELF\x02\x01",
             "unexpected byte 0x7f");
  ck_refused("\x89HDF\r\n\x1a\n", "unexpected byte 0x89");
}
END_TEST

enum { MUTANT = 1 << 14 };

/* Up to six times: another byte, a cut, a copy, a token put in, or the end
 * lost. */
static size_t mutate(uint32_t seed, char *text, size_t size) {
  static const char *const tokens[] = {"{",
                                       "}",
                                       "[",
                                       "(",
                                       "\"",
                                       "/*",
                                       "*/",
                                       "//",
                                       "=",
                                       ";",
                                       ",",
                                       "1e999",
                                       "0x",
                                       "\\",
                                       "\n",
                                       "\r",
                                       "#",
                                       "\xFF",
                                       "\x01",
                                       ".",
                                       "-",
                                       "true",
                                       "L",
                                       "train",
                                       "lr",
                                       " ",
                                       "@include \"run.cfg\"\n",
                                       "4294967296",
                                       "99999999999999999999L"};
  size_t rounds = 1 + draw(seed, 0, 6);
  for (uint32_t i = 1; i <= rounds && size > 0; i++) {
    size_t at = draw(seed, 8 * i, size), n = 1 + draw(seed, 8 * i + 1, 20);
    const char *token =
        tokens[draw(seed, 8 * i + 2, sizeof tokens / sizeof *tokens)];
    if (n > size - at)
      n = size - at;
    switch (draw(seed, 8 * i + 3, 8)) {
    case 0:
      text[at] = (char) draw(seed, 8 * i + 4, 256);
      break;
    case 1:
    case 2:
      memmove(text + at, text + at + n, size - at - n);
      size -= n;
      break;
    case 3:
      memmove(text + at + n, text + at, size - at);
      size += n;
      break;
    case 4:
      size = at;
      break;
    default:
      n = strlen(token);
      memmove(text + at + n, text + at, size - at);
      memcpy(text + at, token, n);
      size += n;
    }
  }
  return size;
}

/* A sample with random damage is read, and then prints as what it is, or
 * refused in one line. */
START_TEST(mutations) {
  const char *source = getenv("ZT_SRC"), *wish = getenv("ZT_TEST_MUTATIONS");
  uint32_t count = wish ? (uint32_t) atoi(wish) : 1000, accepted = 0;
  char path[512], *sample, mutant[MUTANT];
  size_t size;
  snprintf(path, sizeof path, "%s/config/t5-small.cfg", source ? source : ".");
  ck_zt_ok(zt_read_file(path, MUTANT / 2, &sample, &size));
  for (uint32_t i = 0; i < count; i++) {
    zt_settings s, back;
    memcpy(mutant, sample, size);
    size_t n = mutate(i, mutant, size);
    if (zt_settings_read(put_bytes("run.cfg", mutant, n), NULL, 0, &s) ==
        ZT_OK) {
      char *text = printed(&s);
      ck_zt_ok(zt_settings_read(put("back.cfg", text), NULL, 0, &back));
      char *again = printed(&back);
      ck_assert_str_eq(text, again);
      free(text);
      free(again);
      zt_settings_check(&s, ZT_NEED_TO_TRAIN);
      zt_settings_free(&s);
      zt_settings_free(&back);
      accepted++;
    } else {
      ck_message("mutant", "run.cfg");
      ck_assert_ptr_null(s.origins);
    }
  }
  /* Damage to comments is none, so that some pass. */
  ck_assert_uint_gt(accepted, count / 100);
  ck_assert_uint_lt(accepted, count);
  free(sample);
}
END_TEST

/* libconfig 1.5 loses its own strings at a syntax error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libconfig";
}

static Suite *suite(void) {
  Suite *s = suite_create("settings_scan");
  TCase *t = tcase_create("files");
  tcase_set_timeout(t, 600);
  tcase_add_loop_test(t, wrong_text, 0, sizeof wrong / sizeof *wrong);
  tcase_add_loop_test(t, right_text, 0, sizeof right / sizeof *right);
  tcase_add_test(t, linked_libconfig);
  tcase_add_test(t, includes);
  tcase_add_test(t, many_includes);
  tcase_add_test(t, no_file);
  tcase_add_test(t, no_configuration);
  tcase_add_test(t, mutations);
  suite_add_tcase(s, t);
  return s;
}

int main(void) {
  scratch_begin("check_settings_scan");
  int status = unit_main(suite(), CK_FORK);
  scratch_end();
  return status;
}
