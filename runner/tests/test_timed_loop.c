/* Which iterations there are, and on which case, with an engine that remembers what it was given and takes its time. */
#define _GNU_SOURCE
#include "timed_loop.h"

#include <stdlib.h>
#include <string.h>

#include "bursts.h"
#include "check.h"
#include "process_facts.h"
#include "turns.h"
#include "windows.h"

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
  free(run->turns);
  free(run->windows);
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

static void test_bursts(void) {
  session run = begin(0, 3 * 4);
  run.arguments.iterations = 4;
  run.arguments.bursts = 3;
  run.arguments.idle_seconds = 0.02;
  run.arguments.vary = true;
  CHECK(turns_reserve(&run, &why) && bursts_take(&run, &why));
  CHECK(run.turn_count == 3 && run.latency_ns.count == 12 && memcmp(given, "\0\1\2\0\1\2\0\1\2\0\1\2", 12) == 0);
  for (size_t i = 0; i < 3; ++i) CHECK(run.turns[i].iterations == 4);
  CHECK(run.turns[2].began_ns - run.turns[0].began_ns >= 40 * MS);
  end(&run);

  run = begin(0, 100 * 2);
  run.arguments.iterations = 2;
  run.arguments.bursts = 100;
  run.arguments.idle_seconds = 0.001;
  run.arguments.max_seconds = 0.01; /* of work; a burst that has begun is done to its end */
  takes_ns = 3 * MS;
  CHECK(turns_reserve(&run, &why) && bursts_take(&run, &why));
  CHECK(run.turn_count >= 1 && run.turn_count <= 2 && run.latency_ns.count == 2 * run.turn_count);
  end(&run);
}

static void test_windows(void) {
  session run = begin(0, 0);
  run.arguments.max_seconds = 0.1;
  run.arguments.window_seconds = 0.02;
  takes_ns = 10000; /* far more than are kept */
  CHECK(windows_reserve(&run, &why) && windows_take(&run, &why));
  CHECK(run.window_count >= 2 && run.window_count <= 6 && run.timed_ns >= 100 * MS && run.suspended_ns >= 0);
  size_t kept = 0, iterations = 0;
  for (size_t i = 0; i < run.window_count; ++i) {
    const window_taken *window = &run.windows[i];
    CHECK(window->kept >= 1 && window->kept <= WINDOW_KEPT && window->iterations <= window->kept * window->stride);
    CHECK(window->iterations > (window->kept - 1) * window->stride);
    if (i > 0) CHECK(window->began_ns > run.windows[i - 1].began_ns);
    kept += window->kept;
    iterations += window->iterations;
  }
  CHECK(kept == run.latency_ns.count && iterations == count);
  end(&run);

  run = begin(0, 0);
  run.arguments.max_seconds = 0.03;
  run.arguments.window_seconds = 0.001;
  takes_ns = 5 * MS; /* longer than a window: those in which nothing begins are left out */
  CHECK(windows_reserve(&run, &why) && windows_take(&run, &why));
  CHECK(run.window_count == run.latency_ns.count && run.window_count <= 7 && run.windows[0].iterations == 1);
  end(&run);
}

int main(void) {
  test_cases();
  test_duration();
  test_warm_up();
  test_bursts();
  test_windows();
  return failed_checks != 0;
}
