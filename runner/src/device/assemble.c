#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "input_line.h"
#include "output_file.h"
#include "range_line.h"
#include "verbs.h"

enum { COPY_BYTES = 1 << 20 };

/* The file that the last range came from: the next one often is of the same. */
typedef struct {
  char *path;
  int descriptor;
} source_file;

static bool open_source(source_file *source, const char *path, failure *why) {
  if (source->path != NULL && strcmp(source->path, path) == 0) return true;
  if (source->path != NULL) close(source->descriptor);
  free(source->path);
  source->path = NULL;
  source->descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (source->descriptor < 0) return fail(why, "%s: %s", path, strerror(errno));
  source->path = strdup(path);
  return source->path != NULL || fail(why, "%s", strerror(errno));
}

static int copy_range(output_file *file, const source_file *source, const range_line *range, failure *why) {
  static uint8_t bytes[COPY_BYTES];
  uint64_t at = range->offset_bytes;
  const uint64_t end = at + range->length_bytes;
  while (at < end) {
    const size_t wanted = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
    const ssize_t got = pread(source->descriptor, bytes, wanted, (off_t)at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      fail(why, "%s: %s", source->path, strerror(errno));
      return EXIT_BAD_RANGE;
    }
    if (got == 0) {
      fail(why, "%s: has %" PRIu64 " bytes from %" PRIu64 " on, not %" PRIu64, source->path, at - range->offset_bytes,
           range->offset_bytes, range->length_bytes);
      return EXIT_BAD_RANGE;
    }
    if (!output_append(file, bytes, (size_t)got, why)) return EXIT_FAILED;
    at += (uint64_t)got;
  }
  return 0;
}

static int copy_ranges(output_file *file, failure *why) {
  source_file source = {0};
  input_line line = {0};
  while (next_input_line(&line)) {
    range_line range;
    if (!parse_range_line(line.text, &range) || range.rest == NULL || range.rest[0] == '\0') {
      fail(why, "line %" PRIu64 " is not OFFSET LENGTH PATH: '%s'", line.number, line.text);
      return EXIT_BAD_RANGE;
    }
    if (!open_source(&source, range.rest, why)) return EXIT_BAD_RANGE;
    const int exit_code = copy_range(file, &source, &range, why);
    if (exit_code != 0) return exit_code;
  }
  return input_was_read(why) ? 0 : EXIT_FAILED;
}

int device_assemble(const char *path, failure *why) {
  /* Not emptied but made anew: the old file may have other names, or readers. */
  if (unlink(path) != 0 && errno != ENOENT) {
    fail(why, "%s: %s", path, strerror(errno));
    return EXIT_FAILED;
  }
  output_file file;
  if (!output_open(&file, path, O_CREAT | O_EXCL, 0, why)) return EXIT_FAILED;
  const int exit_code = copy_ranges(&file, why);
  if (exit_code != 0) return exit_code;
  return output_close(&file, why) ? 0 : EXIT_FAILED;
}
