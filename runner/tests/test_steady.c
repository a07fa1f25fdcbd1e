/* The rule on sequences of which the answer is known. With a file of lines of latencies, one sequence a line, it prints "since
 * known" or "never" for each: that is how it is compared with edgedeploy/stats/steady.py. */
#include "steady.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

#define MS 1000000

static failure why;

static void expect(steady_watch *watch, bool reached, size_t since, size_t known) {
  CHECK(watch->reached == reached);
  if (reached) CHECK(watch->since == since && watch->known == known);
  steady_release(watch);
}

static void feed(steady_watch *watch, size_t count, int64_t ns) {
  for (size_t i = 0; i < count; ++i) CHECK(steady_take(watch, ns, &why));
}

static void test_known_sequences(void) {
  steady_watch watch = {0};
  feed(&watch, 23, 100 * MS);
  CHECK(!watch.reached);
  feed(&watch, 100, 100 * MS); /* the 24th settles it, and the rest changes nothing */
  expect(&watch, true, 0, 24);

  watch = (steady_watch){0};
  feed(&watch, 40, 20 * MS); /* windows of 8 iterations are longer than 100 ms here */
  expect(&watch, true, 0, 24);

  watch = (steady_watch){0};
  feed(&watch, 100000, 10000); /* windows of 10000 iterations are 100 ms here */
  expect(&watch, true, 0, 30000);

  watch = (steady_watch){0};
  feed(&watch, 16, 40 * MS);
  feed(&watch, 24, 20 * MS); /* the clock was raised */
  expect(&watch, true, 16, 40);

  watch = (steady_watch){0};
  for (int64_t i = 0; i < 800; ++i) CHECK(steady_take(&watch, 20 * MS + i * MS, &why));
  expect(&watch, false, 0, 0);

  watch = (steady_watch){0};
  for (size_t i = 0; i < 24; ++i) CHECK(steady_take(&watch, i % 8 == 7 ? 500 * MS : 20 * MS, &why));
  expect(&watch, true, 0, 24); /* one outlier a window */
}

static void answer_line(char *line) {
  steady_watch watch = {0};
  char *end;
  for (char *at = line; *at != '\n' && *at != '\0'; at = *end == ' ' ? end + 1 : end) {
    CHECK(steady_take(&watch, strtoll(at, &end, 10), &why));
    if (end == at) exit(2);
  }
  if (watch.reached) {
    printf("%zu %zu\n", watch.since, watch.known);
  } else {
    printf("never\n");
  }
  steady_release(&watch);
}

int main(int argc, char **argv) {
  if (argc == 1) {
    test_known_sequences();
    return failed_checks != 0;
  }
  FILE *file = fopen(argv[1], "r");
  static char line[1 << 20];
  if (file == NULL) return 2;
  while (fgets(line, sizeof line, file) != NULL) answer_line(line);
  fclose(file);
  return failed_checks != 0;
}
