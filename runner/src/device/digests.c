#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input_line.h"
#include "range_line.h"
#include "sha256.h"
#include "verbs.h"

enum { READ_BYTES = 1 << 18 };

/* Opens a regular file to read it from front to back, or returns -1: a pipe would be waited for. */
static int open_regular(const char *path) {
  const int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  struct stat found;
  if (descriptor < 0) return -1;
  if (fstat(descriptor, &found) != 0 || !S_ISREG(found.st_mode)) {
    close(descriptor);
    return -1;
  }
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
  return descriptor;
}

/* Hashes up to `length_bytes` from `offset_bytes` on; returns how many there were, or -1 where they cannot be read. */
static int64_t hash_bytes(int descriptor, uint64_t offset_bytes, uint64_t length_bytes, char hex[SHA256_HEX_BYTES]) {
  static uint8_t bytes[READ_BYTES];
  sha256_stream stream;
  sha256_begin(&stream);
  uint64_t done = 0;
  while (done < length_bytes) {
    const size_t wanted = length_bytes - done < READ_BYTES ? (size_t)(length_bytes - done) : READ_BYTES;
    const ssize_t got = pread(descriptor, bytes, wanted, (off_t)(offset_bytes + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    sha256_add(&stream, bytes, (size_t)got);
    done += (uint64_t)got;
  }
  sha256_end_hex(&stream, hex);
  return (int64_t)done;
}

int device_hash(failure *why) {
  input_line line = {0};
  while (next_input_line(&line)) {
    char hex[SHA256_HEX_BYTES];
    const int descriptor = open_regular(line.text);
    const int64_t size_bytes = descriptor < 0 ? -1 : hash_bytes(descriptor, 0, INT64_MAX, hex);
    if (descriptor >= 0) close(descriptor);
    if (size_bytes < 0) {
      printf("- - %s\n", line.text);
    } else {
      printf("%s %" PRId64 " %s\n", hex, size_bytes, line.text);
    }
  }
  return input_was_read(why) ? 0 : EXIT_FAILED;
}

int device_ranges(const char *path, failure *why) {
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    fail(why, "%s: %s", path, strerror(errno));
    return EXIT_FAILED;
  }
  input_line line = {0};
  while (next_input_line(&line)) {
    range_line range;
    if (!parse_range_line(line.text, &range) || range.rest != NULL) {
      fail(why, "line %" PRIu64 " is not OFFSET LENGTH: '%s'", line.number, line.text);
      return EXIT_BAD_RANGE;
    }
    char hex[SHA256_HEX_BYTES];
    const int64_t there = hash_bytes(descriptor, range.offset_bytes, range.length_bytes, hex);
    puts(there == (int64_t)range.length_bytes ? hex : "-");
  }
  return input_was_read(why) ? 0 : EXIT_FAILED;
}
