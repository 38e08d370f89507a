// SPDX-License-Identifier: BSD-3-Clause
// Settings, reports and counters.
#include "emu_core.h"

#include <map>
#include <mutex>
#include <set>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace emu {

const char *context = "host";

namespace {

long reports, untaken;
char last_text[512];
std::map<std::string, std::string> said; /* by text without numbers */
uint64_t random_state;
std::map<std::string, emu_counts> all_counts;
emu_counts idle_counts;
std::map<int, uint64_t> links;
std::recursive_mutex lock;
std::map<std::string, long> calls;

const char *text_of(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value && *value ? value : otherwise;
}

int place(const char *value, std::initializer_list<const char *> names) {
  int i = 0;
  for (const char *name : names) {
    if (!strcmp(value, name))
      return i;
    i++;
  }
  fprintf(stderr, "cudaemu: %s is none of the choices\n", value);
  _exit(78);
}

void seed_random(unsigned seed) {
  random_state = 88172645463325252u ^ (uint64_t) seed << 20;
  for (int i = 0; i < 8; i++)
    draw();
}

void add(emu_bytes &to, const emu_bytes &from) {
  to.accessed += from.accessed;
  to.block += from.block;
  to.distinct += from.distinct;
}

void print_bytes(FILE *f, const char *name, const emu_bytes &b) {
  fprintf(f,
          ", \"%s\": {\"accessed\": %llu, \"block\": %llu, \"distinct\": %llu}",
          name, (unsigned long long) b.accessed, (unsigned long long) b.block,
          (unsigned long long) b.distinct);
}

void print_counts(FILE *f, const emu_counts &c) {
  fprintf(f, "{\"launches\": %llu, \"blocks\": %llu, \"threads\": %llu",
          (unsigned long long) c.launches, (unsigned long long) c.blocks,
          (unsigned long long) c.threads);
  print_bytes(f, "read", c.read);
  print_bytes(f, "written", c.written);
  fprintf(f, ", \"tensor_macs\": %llu, \"other_macs\": %llu}",
          (unsigned long long) c.tensor_macs,
          (unsigned long long) c.other_macs);
}

void write_report() {
  std::string path = settings().report;
  size_t at = path.find("%r");
  if (at != std::string::npos)
    path.replace(at, 2, std::to_string(settings().rank));
  FILE *f = fopen(path.c_str(), "w");
  if (!f) {
    perror(path.c_str());
    return;
  }
  fprintf(f, "{\"rank\": %d, \"reports\": %ld, \"links\": {", settings().rank,
          reports);
  const char *comma = "";
  for (auto &link : links) {
    fprintf(f, "%s\"%d\": %llu", comma, link.first,
            (unsigned long long) link.second);
    comma = ", ";
  }
  fprintf(f, "},\n\"total\": ");
  print_counts(f, emu_count(""));
  fprintf(f, ",\n\"names\": {");
  comma = "\n";
  for (auto &c : all_counts) {
    fprintf(f, "%s\"%s\": ", comma, c.first.c_str());
    print_counts(f, c.second);
    comma = ",\n";
  }
  fprintf(f, "}}\n");
  fclose(f);
}

/* Registered before anything of the program, so it is the last to run. */
void at_exit() {
  if (!settings().report.empty())
    write_report();
  if (!untaken)
    return;
  fflush(NULL);
  fprintf(stderr, "cudaemu: %ld reports\n", untaken);
  _exit(86);
}

Settings read_settings() {
  Settings s;
  s.seed = (unsigned) atol(text_of("CUDAEMU_SEED", "1"));
  s.schedule = (emu_schedule) place(text_of("CUDAEMU_SCHEDULE", "random"),
                                    {"fifo", "eager", "late", "random"});
  s.threads = (emu_order) place(text_of("CUDAEMU_THREADS", "fifo"),
                                {"fifo", "lifo", "random"});
  s.check = strcmp(text_of("CUDAEMU_CHECK", "1"), "0") != 0;
  s.devices = atoi(text_of("CUDAEMU_DEVICES", "8"));
  s.memory = strtoull(text_of("CUDAEMU_MEMORY", "17179869184"), NULL, 10);
  s.rank = atoi(text_of("PMI_RANK", text_of("OMPI_COMM_WORLD_RANK",
                                            text_of("SLURM_PROCID", "0"))));
  s.directory =
      text_of("CUDAEMU_DIR", text_of("ZT_BUILD", text_of("TMPDIR", "/tmp")));
  s.report = text_of("CUDAEMU_REPORT", "");
  s.silent = !strcmp(text_of("CUDAEMU_NCCL", ""), "silent");
  s.fail = text_of("CUDAEMU_FAIL", "");
  s.fail_at = 0;
  size_t colon = s.fail.find(':');
  if (colon != std::string::npos) {
    const char *number = s.fail.c_str() + colon + 1,
               *rank = strchr(number, ':');
    if (!rank || atoi(rank + 1) == s.rank)
      s.fail_at = atol(number);
    s.fail.resize(colon);
  }
  seed_random(s.seed * 97 + (unsigned) s.rank);
  atexit(at_exit);
  return s;
}

void count_report(const char *format, va_list list) {
  char text[400];
  vsnprintf(text, sizeof text, format, list);
  snprintf(last_text, sizeof last_text, "[%s] %s", context, text);
  reports++;
  untaken++;
  std::string key;
  for (const char *c = last_text; *c; c++)
    if (*c < '0' || *c > '9')
      key += *c;
  if (!said.emplace(key, last_text).second)
    return;
  char line[600];
  int n = snprintf(line, sizeof line, "cudaemu: %s\n", last_text);
  if (write(STDERR_FILENO, line, (size_t) n) != n)
    return; /* nowhere to say it */
}

} // namespace

emu_counts *counts = &idle_counts;

Settings &settings() {
  static Settings *s = new Settings(read_settings()); /* outlives at_exit */
  return *s;
}

/* The settings, and with them at_exit, before the program starts. */
static const Settings &started = settings();

void report(const char *format, ...) {
  va_list list;
  va_start(list, format);
  count_report(format, list);
  va_end(list);
}

void give_up(const char *format, ...) {
  va_list list;
  va_start(list, format);
  count_report(format, list);
  va_end(list);
  fflush(NULL);
  _exit(86);
}

unsigned draw() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (unsigned) (random_state >> 32);
}

const char *intern(const std::string &name) {
  static std::set<std::string> names;
  return names.insert(name).first->c_str();
}

emu_counts *counts_of(const char *name) {
  return &all_counts[name];
}

void count_sent(int peer, uint64_t bytes) {
  links[peer] += bytes;
}

Call::Call(const char *name, bool allocates) : fails(false) {
  lock.lock();
  const Settings &s = settings();
  if (s.fail_at && (s.fail == name || (allocates && s.fail == "alloc")))
    fails = ++calls[s.fail] == s.fail_at;
}

Call::~Call() {
  lock.unlock();
}

} // namespace emu

void emu_configure(unsigned seed, emu_schedule schedule, emu_order threads) {
  emu::Settings &s = emu::settings();
  s.seed = seed;
  s.schedule = schedule;
  s.threads = threads;
  emu::seed_random(seed * 97 + (unsigned) s.rank);
}

bool emu_checks(void) {
  return emu::checking();
}

bool emu_reported(const char *text) {
  for (auto &entry : emu::said)
    if (strstr(entry.second.c_str(), text))
      return true;
  return false;
}

long emu_take_reports(void) {
  long n = emu::untaken;
  emu::untaken = 0;
  emu::said.clear();
  return n;
}

const char *emu_last_report(void) {
  return emu::last_text;
}

emu_counts emu_count(const char *name) {
  emu_counts sum = {};
  for (auto &entry : emu::all_counts) {
    if (strncmp(entry.first.c_str(), name, strlen(name)))
      continue;
    const emu_counts &c = entry.second;
    sum.launches += c.launches;
    sum.blocks += c.blocks;
    sum.threads += c.threads;
    emu::add(sum.read, c.read);
    emu::add(sum.written, c.written);
    sum.tensor_macs += c.tensor_macs;
    sum.other_macs += c.other_macs;
  }
  return sum;
}

uint64_t emu_sent_to(int peer) {
  return emu::links.count(peer) ? emu::links[peer] : 0;
}

/* Entries stay where they are: running operations point at them. */
void emu_reset_counts(void) {
  for (auto &entry : emu::all_counts)
    entry.second = emu_counts();
  emu::links.clear();
}

/* What the double keeps for ever, and UCX when MPI aborts, is no leak; nor is
 * that worth a line, for tests look for the double's name among them. */
extern "C" const char *__lsan_default_options(void) {
  return "print_suppressions=0";
}

extern "C" const char *__lsan_default_suppressions(void) {
  return "leak:cudaemu/\nleak:libucs\n";
}
