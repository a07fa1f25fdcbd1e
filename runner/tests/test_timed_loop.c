/* Which iterations there are, and on which case, with an engine that remembers what it was given and takes its time. */
#define _GNU_SOURCE
#include "timed_loop.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "process_facts.h"

#define CASES 3
#define MS 1000000

static uint8_t given[100000];
static size_t count;
static int64_t takes_ns;

static bool set_input(size_t index, const void *bytes, failure *why) {
  (void)index;
  (void)why;
  if (count < sizeof given) given[count++] = *(const uint8_t *)bytes;
  return true;
}

static bool invoke(failure *why) {
  (void)why;
  const int64_t until_ns = monotonic_now_ns() + takes_ns;
  while (monotonic_now_ns() < until_ns) {
  }
  return true;
}

static const runner_engine engine = {.set_input = set_input, .invoke = invoke};
static failure why;

/* A run that has got as far as the timed loop, with the bytes 0, 1, 2 as its three cases. */
static session begin(size_t warmups, size_t iterations) {
  static uint8_t cases[CASES] = {0, 1, 2};
  static input_data input = {.bytes = cases, .tensor_bytes = 1};
  count = 0;
  takes_ns = 0;
  session run = {.engine = &engine, .inputs = {.tensors = &input, .count = 1, .cases = CASES}};
  run.arguments.warmup = (int64_t)warmups;
  run.arguments.iterations = (int64_t)iterations;
  run.arguments.max_seconds = 30;
  CHECK(samples_reserve(&run.warmup_ns, warmups, &why) && samples_reserve(&run.latency_ns, iterations, &why));
  return run;
}

static void end(session *run) {
  samples_release(&run->warmup_ns);
  samples_release(&run->latency_ns);
  steady_release(&run->steady);
}

static void test_cases(void) {
  session run = begin(2, 5);
  CHECK(warm_up(&run, &why) && measure(&run, &why));
  CHECK(run.warmup_ns.count == 2 && run.warmup_iterations == 2 && run.latency_ns.count == 5 && count == 7);
  CHECK(memcmp(given, "\0\0\0\0\0\0\0", 7) == 0);
  end(&run);

  run = begin(2, 5);
  run.arguments.vary = true;
  CHECK(warm_up(&run, &why) && measure(&run, &why));
  CHECK(count == 7 && memcmp(given, "\0\1\0\1\2\0\1", 7) == 0);
  end(&run);

  run = begin(2, 0);
  run.arguments.warmup_seconds = run.arguments.min_seconds = 1;
  CHECK(warm_up(&run, &why) && measure(&run, &why) && count == 0);
  end(&run);
}

static void test_duration(void) {
  session run = begin(0, 5);
  takes_ns = MS / 5;
  run.arguments.min_seconds = 0.02;
  CHECK(measure(&run, &why));
  CHECK(run.latency_ns.count > 5 && run.latency_ns.count <= 100);
  end(&run);

  run = begin(0, 5); /* memory grows: far more than there was room for */
  run.arguments.min_seconds = 0.02;
  CHECK(measure(&run, &why));
  CHECK(run.latency_ns.count > 5 && run.latency_ns.count == (count < sizeof given ? count : run.latency_ns.count));
  for (size_t i = 0; i < run.latency_ns.count; ++i) CHECK(run.latency_ns.ns[i] >= 0);
  end(&run);

  run = begin(0, 1000);
  takes_ns = MS;
  run.arguments.min_seconds = 5;
  run.arguments.max_seconds = 0.01; /* has the last word */
  CHECK(measure(&run, &why));
  CHECK(run.latency_ns.count >= 1 && run.latency_ns.count <= 10);
  end(&run);
}

static void test_warm_up(void) {
  session run = begin(3, 1);
  takes_ns = 13 * MS; /* eight to a window */
  run.arguments.warmup_seconds = 20;
  CHECK(warm_up(&run, &why));
  CHECK(run.steady.reached && run.steady.known == run.warmup_iterations && run.warmup_iterations % 8 == 0);
  CHECK(run.warmup_ns.count == 3); /* what there was room for */
  end(&run);

  run = begin(3, 1);
  takes_ns = MS;
  run.arguments.warmup_seconds = 0.02; /* too short for three windows */
  CHECK(warm_up(&run, &why));
  CHECK(!run.steady.reached && run.warmup_iterations >= 3 && run.warmup_iterations <= 20);
  end(&run);

  run = begin(30, 1);
  takes_ns = MS;
  run.arguments.warmup_seconds = 0.001; /* as many as were asked for come first */
  CHECK(warm_up(&run, &why) && run.warmup_iterations == 30);
  end(&run);
}

int main(void) {
  test_cases();
  test_duration();
  test_warm_up();
  return failed_checks != 0;
}
