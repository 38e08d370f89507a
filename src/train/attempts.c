/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/attempts.h"

#include "base/json.h"
#include "base/text.h"
#include "report/runstate.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { CRASHES = sizeof crashes / sizeof *crashes };

/* Made before anything happens: a dying process writes and no more. */
static char path[PATH_MAX], line[128];
static struct sigaction before[CRASHES];
static volatile sig_atomic_t begun;

static zt_status path_of(const char *dir) {
  return zt_path(path, "%s/attempts", dir);
}

zt_status zt_attempts_check(const char *dir) {
  enum { MOST = 1 << 20 };
  char *text, *last = NULL, *rest;
  int count = 0;
  ZT_TRY(path_of(dir));
  zt_status status = zt_read_file(path, MOST, &text, NULL);
  if (status != ZT_OK) /* mostly there is none; a doubtful one says nothing */
    return ZT_OK;
  for (char *at = strtok_r(text, "\n", &rest); at;
       at = strtok_r(NULL, "\n", &rest)) {
    last = at;
    count++;
  }
  if (count >= ZT_MOST_ATTEMPTS)
    status = zt_fail(ZT_ERR_INTERNAL,
                     "%.80s: %d starts died before their first step (%.40s); "
                     "give --restart PATH, or remove this file to try again",
                     path, count, last);
  free(text);
  return status;
}

/* One write, so that lines of several ranks do not mix.  What cannot be written
 * is not counted. */
static void leave_line(int number) {
  char text[sizeof line + 8];
  size_t used = strlen(line);
  memcpy(text, line, used);
  if (number >= 10)
    text[used++] = (char) ('0' + number / 10);
  text[used++] = (char) ('0' + number % 10);
  text[used++] = '\n';
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0)
    return;
  if (write(fd, text, used) < 0)
    text[0] = '\0';
  close(fd);
}

/* The kernel's own signals have a positive code; abort() comes from within.
 * Back in the crash, whoever had the signal before us gets it. */
static void on_crash(int number, siginfo_t *info, void *context) {
  (void) context;
  if (begun && (info->si_code > 0 || info->si_pid == getpid()))
    leave_line(number);
  begun = 0;
  for (int i = 0; i < CRASHES; i++)
    if (crashes[i] == number)
      sigaction(number, &before[i], NULL);
  if (info->si_code <= 0)
    raise(number);
}

void zt_attempts_begin(const char *dir, int rank) {
  char now[32];
  struct sigaction action = {.sa_sigaction = on_crash,
                             .sa_flags = (int) (SA_SIGINFO | SA_ONSTACK)};
  if (path_of(dir) != ZT_OK)
    return;
  snprintf(line, sizeof line, "started %s, rank %d: signal ", zt_utc_now(now),
           rank);
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < CRASHES; i++)
    sigaction(crashes[i], &action, &before[i]);
  begun = 1;
}

void zt_attempts_note(int exit_code) {
  if (!begun || exit_code != zt_status_exit_code(ZT_ERR_INTERNAL))
    return;
  char *word = strstr(line, "signal ");
  memcpy(word, "code ", sizeof "code ");
  leave_line(exit_code);
  zt_attempts_end(false);
}

void zt_attempts_end(bool forget) {
  if (begun)
    for (int i = 0; i < CRASHES; i++)
      sigaction(crashes[i], &before[i], NULL);
  begun = 0;
  if (forget && path[0])
    unlink(path);
}
