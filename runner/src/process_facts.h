/* What the kernel says about this process: clock, memory, processors, threads. */
#ifndef EDGEDEPLOY_PROCESS_FACTS_H
#define EDGEDEPLOY_PROCESS_FACTS_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "failure.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline int64_t monotonic_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t monotonic_resolution_ns(void);
/* How long the system has been suspended since it started: /proc/uptime counts that, the monotonic clock does not. -1: unknown. */
int64_t suspended_ns(void);
/* Resident memory now (VmRSS) and its high-water mark (VmHWM); 0 where /proc does not say. */
int64_t resident_bytes(void);
int64_t peak_resident_bytes(void);
/* This process's share of the memory it uses, that of shared pages divided among those who share them (Pss); -1 where the kernel
 * does not say. */
int64_t proportional_bytes(void);
int64_t thread_count(void);

/* What all threads of this process have used so far: processor time in user and system mode, and how often one was made to wait
 * that could have gone on. */
typedef struct {
  int64_t cpu_ns;
  int64_t involuntary_switches;
} process_usage;

process_usage usage_now(void);
/* Adds to `total` what was used since `before`. */
void usage_add_since(process_usage *total, process_usage before);
/* Pins this process (and every thread it starts later). Fails when any of the processors cannot be had. */
bool pin_to_cpus(const int *cpus, size_t count, failure *why);
/* The affinity mask in force, in ascending order; returns how many there are. */
size_t cpus_in_force(int64_t *cpus, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
