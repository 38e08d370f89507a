/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/ticker.h"

#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

struct zt_ticker {
  int64_t period; /* ns */
  void (*tick)(void *context);
  void *context;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t ended;
  bool end; /* under the lock */
};

static struct timespec timespec_of(int64_t ns) {
  return (struct timespec){.tv_sec = ns / 1000000000,
                           .tv_nsec = ns % 1000000000};
}

static void *run(void *argument) {
  zt_ticker *t = argument;
  pthread_mutex_lock(&t->lock);
  while (!t->end) {
    struct timespec until = timespec_of(zt_clock_ns() + t->period);
    int rc = 0;
    while (!t->end && rc != ETIMEDOUT)
      rc = pthread_cond_timedwait(&t->ended, &t->lock, &until);
    if (t->end)
      break;
    pthread_mutex_unlock(&t->lock);
    t->tick(t->context);
    pthread_mutex_lock(&t->lock);
  }
  pthread_mutex_unlock(&t->lock);
  return NULL;
}

static void init_waiting(zt_ticker *t) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&t->ended, &monotonic);
  pthread_condattr_destroy(&monotonic);
  pthread_mutex_init(&t->lock, NULL);
}

static void free_ticker(zt_ticker *t) {
  pthread_mutex_destroy(&t->lock);
  pthread_cond_destroy(&t->ended);
  free(t);
}

zt_status zt_ticker_start(double seconds, void (*tick)(void *context),
                          void *context, zt_ticker **ticker) {
  sigset_t all, before;
  zt_ticker *t = zt_calloc(1, sizeof *t);
  if (!t)
    return ZT_ERR_MEMORY;
  t->period = (int64_t) (1e9 * seconds);
  t->tick = tick;
  t->context = context;
  init_waiting(t);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&t->thread, NULL, run, t);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error) {
    free_ticker(t);
    errno = error;
    return zt_fail_errno(ZT_ERR_MEMORY, "cannot start a thread");
  }
  *ticker = t;
  return ZT_OK;
}

void zt_ticker_stop(zt_ticker **ticker) {
  zt_ticker *t = *ticker;
  if (!t)
    return;
  pthread_mutex_lock(&t->lock);
  t->end = true;
  pthread_cond_broadcast(&t->ended);
  pthread_mutex_unlock(&t->lock);
  pthread_join(t->thread, NULL);
  free_ticker(t);
  *ticker = NULL;
}

void zt_sleep(double seconds) {
  struct timespec time = timespec_of((int64_t) (1e9 * seconds));
  nanosleep(&time, NULL);
}
