/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process took at most: for the tests of memory and of reading.
 *   peak FILE COMMAND [ARGUMENT]...     under mpiexec: each rank its own
 * runs the command and adds a line "MEMORY READ" to the file: the most private
 * memory (RssAnon) and the bytes that its read calls returned, as the kernel
 * counts them.  Looks every 2 ms.  Its exit code is that of the command. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The number behind a word in a file of /proc; -1 if there is none. */
static int64_t look_up(pid_t pid, const char *file, const char *word) {
  char path[64], line[256];
  int64_t value = -1;
  snprintf(path, sizeof path, "/proc/%d/%s", (int) pid, file);
  FILE *f = fopen(path, "r");
  while (f && value < 0 && fgets(line, sizeof line, f))
    if (strncmp(line, word, strlen(word)) == 0)
      value = strtoll(line + strlen(word), NULL, 10);
  if (f)
    fclose(f);
  return value;
}

static void keep_larger(int64_t *most, int64_t value) {
  if (value > *most)
    *most = value;
}

static int note(const char *path, int64_t memory, int64_t bytes) {
  char line[64];
  int n =
      snprintf(line, sizeof line, "%" PRId64 " %" PRId64 "\n", memory, bytes);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
  if (fd < 0 || write(fd, line, (size_t) n) != n || close(fd) != 0) {
    perror(path);
    return 99;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 99;
  pid_t child = fork();
  if (child == 0) {
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    _exit(99);
  }
  int status = 0;
  int64_t memory = 0, bytes = 0;
  while (child > 0 && waitpid(child, &status, WNOHANG) == 0) {
    keep_larger(&memory, look_up(child, "status", "RssAnon:") * 1024);
    keep_larger(&bytes, look_up(child, "io", "rchar:"));
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
  }
  int failed = note(argv[1], memory, bytes);
  return !WIFEXITED(status) ? 99 : failed ? failed : WEXITSTATUS(status);
}
