/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/watch.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t wanted;

/* The first one is a wish, a second one an order. */
static void note(int number) {
  wanted = number;
}

void zt_watch_signals(void) {
  static const int numbers[] = {SIGTERM, SIGUSR1, SIGINT};
  struct sigaction action = {.sa_handler = note,
                             .sa_flags = (int) (SA_RESTART | SA_RESETHAND)};
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    sigaction(numbers[i], &action, NULL);
  /* A limit on file sizes shall be an error that can be reported. */
  signal(SIGXFSZ, SIG_IGN);
}

int zt_watch_wanted(void) {
  return wanted;
}
