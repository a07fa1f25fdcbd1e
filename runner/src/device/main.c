/* edgedeploy-device: receives, rebuilds and hashes files where a device's own tools would do it slowly. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "range_line.h"
#include "verbs.h"

static const char usage[] =
    "usage: edgedeploy-device receive FILE OFFSET [--size BYTES] [--sync]\n"
    "       edgedeploy-device assemble FILE\n"
    "       edgedeploy-device hash\n"
    "       edgedeploy-device ranges FILE\n"
    "       edgedeploy-device chunks FILE\n"
    "       edgedeploy-device version";

static bool parse_receive(int count, char **words, receive_arguments *arguments) {
  if (count < 2) return false;
  *arguments = (receive_arguments){.file = words[0]};
  if (!parse_bytes(words[1], &arguments->offset_bytes)) return false;
  for (int at = 2; at < count; ++at) {
    if (strcmp(words[at], "--sync") == 0) {
      arguments->sync = true;
    } else if (strcmp(words[at], "--size") == 0 && at + 1 < count) {
      arguments->has_size = true;
      if (!parse_bytes(words[++at], &arguments->size_bytes)) return false;
    } else {
      return false;
    }
  }
  return true;
}

static int run(int count, char **words, failure *why) {
  const char *verb = count > 0 ? words[0] : "";
  receive_arguments received;
  if (strcmp(verb, "receive") == 0 && parse_receive(count - 1, words + 1, &received)) {
    return device_receive(&received, why);
  }
  if (strcmp(verb, "assemble") == 0 && count == 2) return device_assemble(words[1], why);
  if (strcmp(verb, "hash") == 0 && count == 1) return device_hash(why);
  if (strcmp(verb, "ranges") == 0 && count == 2) return device_ranges(words[1], why);
  if (strcmp(verb, "chunks") == 0 && count == 2) return device_chunks(words[1], why);
  if (strcmp(verb, "version") == 0 && count == 1) {
    puts("edgedeploy-device 1");
    return 0;
  }
  fail(why, "%s", usage);
  return EXIT_WRONG_USE;
}

int main(int argc, char **argv) {
  /* A line is an answer: a caller that waits for it before it asks on is to get it. */
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  failure why;
  int exit_code = run(argc - 1, argv + 1, &why);
  if (exit_code == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
    fail(&why, "standard output: %s", strerror(errno));
    exit_code = EXIT_FAILED;
  }
  if (exit_code == EXIT_WRONG_USE) fprintf(stderr, "%s\n", why.message);
  else if (exit_code != 0) fprintf(stderr, "edgedeploy-device: %s\n", why.message);
  return exit_code;
}
