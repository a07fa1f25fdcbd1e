#define _GNU_SOURCE
#include "process_facts.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

int64_t monotonic_resolution_ns(void) {
  struct timespec step;
  if (clock_getres(CLOCK_MONOTONIC, &step) != 0) return 0;
  return (int64_t)step.tv_sec * 1000000000 + step.tv_nsec;
}

int64_t suspended_ns(void) {
  struct timespec since_boot;
  if (clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0) return -1;
  const int64_t slept_ns = (int64_t)since_boot.tv_sec * 1000000000 + since_boot.tv_nsec - monotonic_now_ns();
  return slept_ns > 0 ? slept_ns : 0;
}

/* The number after `key` in a file of lines, or `otherwise`. */
static int64_t field_of(const char *path, const char *key, int64_t otherwise) {
  FILE *file = fopen(path, "re");
  if (file == NULL) return otherwise;
  int64_t value = otherwise;
  char line[256];
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, key, strlen(key)) == 0) {
      value = strtoll(line + strlen(key), NULL, 10);
      break;
    }
  }
  fclose(file);
  return value;
}

static int64_t status_field(const char *key) { return field_of("/proc/self/status", key, 0); }

int64_t resident_bytes(void) { return status_field("VmRSS:") * 1024; }

int64_t peak_resident_bytes(void) { return status_field("VmHWM:") * 1024; }

int64_t proportional_bytes(void) {
  const int64_t kilobytes = field_of("/proc/self/smaps_rollup", "Pss:", -1);
  return kilobytes < 0 ? -1 : kilobytes * 1024;
}

static int64_t nanoseconds(struct timeval time) { return (int64_t)time.tv_sec * 1000000000 + (int64_t)time.tv_usec * 1000; }

process_usage usage_now(void) {
  struct rusage used = {0};
  getrusage(RUSAGE_SELF, &used);
  return (process_usage){.cpu_ns = nanoseconds(used.ru_utime) + nanoseconds(used.ru_stime),
                         .involuntary_switches = used.ru_nivcsw};
}

void usage_add_since(process_usage *total, process_usage before) {
  const process_usage now = usage_now();
  total->cpu_ns += now.cpu_ns - before.cpu_ns;
  total->involuntary_switches += now.involuntary_switches - before.involuntary_switches;
}

int64_t thread_count(void) { return status_field("Threads:"); }

bool pin_to_cpus(const int *cpus, size_t count, failure *why) {
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  for (size_t i = 0; i < count; ++i) CPU_SET((size_t)cpus[i], &wanted);
  if (sched_setaffinity(0, sizeof wanted, &wanted) != 0) {
    return fail(why, "--cpus: cannot pin to these processors: %s", strerror(errno));
  }
  /* The kernel silently drops processors that are offline or forbidden: a shorter mask is not what was asked for. */
  cpu_set_t got;
  CPU_ZERO(&got);
  if (sched_getaffinity(0, sizeof got, &got) != 0) return fail(why, "--cpus: %s", strerror(errno));
  for (size_t i = 0; i < count; ++i) {
    if (!CPU_ISSET((size_t)cpus[i], &got)) return fail(why, "--cpus: processor %d cannot be used", cpus[i]);
  }
  return true;
}

size_t cpus_in_force(int64_t *cpus, size_t capacity) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 0;
  size_t count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && count < capacity; ++cpu) {
    if (CPU_ISSET((size_t)cpu, &mask)) cpus[count++] = cpu;
  }
  return count;
}
