/* SPDX-License-Identifier: BSD-3-Clause */
/* Damage of every kind, at random places: found, proven and named. */
#include "base/text.h"
#include "comm/agree.h"
#include "io/format.h"
#include "mpi_unit.h"
#include "numbers.h"
#include "restart_unit.h"
#include "scratch.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PAGE = 4096, MOST_PARTS = 8 };

/* A file in memory. */
typedef struct bytes {
  char name[32];
  char *data;
  size_t size;
} bytes;

/* A restart in memory: COMMIT, manifest, parts. */
typedef struct image {
  bytes files[2 + MOST_PARTS];
  int count;
} image;

static held h;
static image whole, older, foreign;
static char place[PATH_MAX]; /* of the restart that is damaged, this rank's */
static uint64_t draws;

static uint64_t draw(uint64_t below) {
  return numbers_bits(77 + (uint64_t) comm->rank, draws++) % below;
}

/* ---- Files ---- */

static void read_bytes(const char *dir, bytes *file) {
  char path[PATH_MAX];
  struct stat st;
  ck_zt_ok(zt_path(path, "%s/%s", dir, file->name));
  int fd = open(path, O_RDONLY);
  ck_assert(fd >= 0 && fstat(fd, &st) == 0);
  file->size = (size_t) st.st_size;
  file->data = malloc(file->size);
  ck_assert_int_eq(read(fd, file->data, file->size), st.st_size);
  close(fd);
}

static void write_bytes(const bytes *file) {
  char path[PATH_MAX];
  ck_zt_ok(zt_path(path, "%s/%s", place, file->name));
  unlink(path);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  ck_assert_int_eq(write(fd, file->data, file->size), (ssize_t) file->size);
  close(fd);
}

static void read_image(const char *dir, image *i) {
  i->count = 2 + comm->size;
  strcpy(i->files[0].name, ZT_COMMIT);
  strcpy(i->files[1].name, ZT_MANIFEST);
  for (int p = 0; p < comm->size; p++)
    snprintf(i->files[2 + p].name, 32, "part-%05d.h5", p);
  for (int f = 0; f < i->count; f++)
    read_bytes(dir, &i->files[f]);
}

static void free_image(image *i) {
  for (int f = 0; f < i->count; f++)
    free(i->files[f].data);
}

/* Two generations of one run, and one of another run of the same shape. */
static void open_images(void) {
  char path[PATH_MAX];
  held_create(&h, comm, held_folder(comm, scratch_path("run")), HELD_TINY);
  held_writer(&h, 1, 1 << 20);
  for (int64_t step = 1; step <= 2; step++) {
    held_fill(&h, step);
    ck_zt_ok(held_save(&h, step, NULL));
  }
  held_fill(&h, 9);
  ck_zt_ok(zt_path(path, "%s/step-000000002", h.dir));
  read_image(path, &whole);
  ck_zt_ok(zt_path(path, "%s/step-000000001", h.dir));
  read_image(path, &older);
  ck_zt_ok(zt_agree(comm, ZT_OK));
  ck_zt_ok(held_save(&h, 2, NULL)); /* in place of the first one */
  ck_zt_ok(zt_path(path, "%s/step-000000002", h.dir));
  read_image(path, &foreign);
  zt_restart_writer_destroy(&h.writer);
  snprintf(h.dir, sizeof h.dir, "%s", scratch_path("mine"));
  ck_assert_int_eq(mkdir(h.dir, 0777), 0);
  ck_zt_ok(zt_path(place, "%s/step-000000002", h.dir));
  ck_assert_int_eq(mkdir(place, 0777), 0);
  for (int f = 0; f < whole.count; f++)
    write_bytes(&whole.files[f]);
}

static void close_images(void) {
  free_image(&whole);
  free_image(&older);
  free_image(&foreign);
  held_free(&h);
}

/* ---- Damage ---- */

enum {
  BIT,
  ZERO_PAGE,
  CUT,
  GROWN,
  MISSING,
  SWAPPED_PARTS,
  OLD_FILE,
  FOREIGN_PART,
  WHOLE_OLD,
  GARBAGE,
  SWAPPED_PAGES,
  UNWRITTEN,
  KINDS
};

static const char *const kinds[] = {
    "bit",           "zeroed page",   "cut",           "grown",
    "missing",       "parts swapped", "older file",    "foreign part",
    "older restart", "garbage",       "pages swapped", "tail never written"};

static void change_bytes(bytes *f, int kind) {
  size_t at = draw(f->size), pages = f->size / PAGE;
  size_t page = pages ? draw(pages) * PAGE : 0;
  size_t other = pages ? draw(pages) * PAGE : 0;
  size_t n = f->size - page < PAGE ? f->size - page : PAGE;
  char kept[PAGE];
  switch (kind) {
  case BIT:
    f->data[at] = (char) (f->data[at] ^ 1 << draw(8));
    break;
  case ZERO_PAGE:
    memset(f->data + page, 0, n);
    break;
  case CUT:
    f->size = at;
    break;
  case GROWN:
    f->data = realloc(f->data, f->size + 1 + at);
    memset(f->data + f->size, 0, 1 + at);
    f->size += 1 + at;
    break;
  case GARBAGE:
    for (size_t i = at; i < f->size && i < at + 512; i++)
      f->data[i] = (char) draw(256);
    break;
  case SWAPPED_PAGES:
    if (pages < 2)
      break;
    memcpy(kept, f->data + page, PAGE);
    memcpy(f->data + page, f->data + other, PAGE);
    memcpy(f->data + other, kept, PAGE);
    break;
  default: /* preallocated and never written */
    memset(f->data + at, 0, f->size - at);
  }
}

static bytes copy_of(const bytes *f) {
  bytes copy = *f;
  copy.data = malloc(f->size + 1);
  memcpy(copy.data, f->data, f->size);
  return copy;
}

/* Another file in place of one.
 * \return false if it is no other: parts without elements are alike */
static bool put_instead(const bytes *was, const bytes *by) {
  bytes file = *by;
  memcpy(file.name, was->name, sizeof file.name);
  write_bytes(&file);
  return was->size != by->size || memcmp(was->data, by->data, was->size) != 0;
}

/* Damage the restart at `place`.
 * \param[out] touched  what the message has to name
 * \return false if this draw damages nothing */
static bool damage(int kind, const char **touched) {
  int part = 2 + (int) draw((uint64_t) comm->size);
  int f = draw(3) == 0 ? (int) draw(2) : part; /* the small ones less often */
  const bytes *was = &whole.files[f];
  char path[PATH_MAX];
  *touched = was->name;
  switch (kind) {
  case MISSING:
    ck_zt_ok(zt_path(path, "%s/%s", place, was->name));
    return unlink(path) == 0;
  case SWAPPED_PARTS:
    *touched = "part-";
    put_instead(&whole.files[part], &whole.files[2]);
    return put_instead(&whole.files[2], &whole.files[part]);
  case OLD_FILE:
    return put_instead(was, &older.files[f]);
  case FOREIGN_PART:
    *touched = whole.files[part].name;
    return put_instead(&whole.files[part], &foreign.files[part]);
  case WHOLE_OLD:
    for (int i = 0; i < whole.count; i++)
      write_bytes(&older.files[i]);
    *touched = "is the restart of step 1";
    return true;
  default: {
    bytes changed = copy_of(was);
    change_bytes(&changed, kind);
    bool differs = changed.size != was->size ||
                   memcmp(changed.data, was->data, was->size) != 0;
    if (differs)
      write_bytes(&changed);
    free(changed.data);
    return differs;
  }
  }
}

static void repair(void) {
  for (int f = 0; f < whole.count; f++)
    write_bytes(&whole.files[f]);
}

/* What the message says of a damaged cell. */
static bool names_cell(const char *message) {
  return strstr(message, "chunk ") && strstr(message, "(layer.") &&
         (strstr(message, "/master") || strstr(message, "/exp_avg"));
}

START_TEST(all_damage_is_found) {
  int64_t count = ((numbers_long() ? 10000 : 60) - 1) / comm->size + 1;
  int64_t done[KINDS] = {0}, cells = 0, total = 0;
  bool damaged;
  open_images();
  ck_zt_ok(held_load(&h, "step-000000002", alone, &damaged));
  for (int64_t i = 0; total < count; i++) {
    int kind = (int) (i % KINDS);
    const char *touched;
    if (!damage(kind, &touched))
      continue;
    damaged = false;
    zt_status status = held_load(&h, "step-000000002", alone, &damaged);
    const char *message = zt_last_error();
    ck_assert_msg(status == ZT_ERR_DATA && damaged, "%s of %s: %s: %s",
                  kinds[kind], touched, zt_status_text(status), message);
    ck_assert_msg(strstr(message, touched), "%s of %s is called: %s",
                  kinds[kind], touched, message);
    if (!strstr(message, "seal") && strstr(message, "part-") &&
        kind != MISSING) {
      ck_assert_msg(names_cell(message), "%s", message);
      cells++;
    }
    done[kind]++;
    total++;
    repair();
  }
  ck_zt_ok(held_load(&h, "step-000000002", alone, &damaged));
  ck_assert_int_gt(cells, 0);
  if (comm->rank == 0) {
    printf("%" PRId64 " damages on each of %d ranks, all found:", total,
           comm->size);
    for (int k = 0; k < KINDS; k++)
      printf(" %s %" PRId64 ";", kinds[k], done[k]);
    printf(" %" PRId64 " of them in cells\n", cells);
  }
  close_images();
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("restart damage");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 3600);
  tcase_add_test(all, all_damage_is_found);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  scratch_begin("check_restart_damage");
  int failed = mpi_unit_main(argc, argv, make_suite);
  scratch_end();
  return failed;
}
