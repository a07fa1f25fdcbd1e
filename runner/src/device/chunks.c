#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sha256.h"
#include "verbs.h"

/* A file is cut where its own content says so, so that what moves within it is cut at the same places: before every eight
 * bytes that, with the eight after them, hash to a number whose first 13 bits are zero. edgedeploy/deploy/chunks.py cuts in
 * the same way; docs/device-helper.md has the rule. */
enum { STEP_BYTES = 8, LEAST_BYTES = 1 << 14, MOST_BYTES = 1 << 18, ZERO_BITS = 13, DIGEST_BYTES = 12 };
static const uint64_t first_factor = UINT64_C(0x9E3779B97F4A7C15);
static const uint64_t second_factor = UINT64_C(0xC2B2AE3D27D4EB4F);

static bool cut_before(const uint8_t *bytes) {
  uint64_t words[2];
  memcpy(words, bytes, sizeof words);
  return (words[0] * first_factor + words[1] * second_factor) >> (64 - ZERO_BITS) == 0;
}

static size_t chunk_bytes(const uint8_t *bytes, size_t left) {
  if (left <= LEAST_BYTES) return left;
  const size_t most = left < MOST_BYTES ? left : MOST_BYTES;
  for (size_t at = LEAST_BYTES; at < most && at + 2 * STEP_BYTES <= left; at += STEP_BYTES) {
    if (cut_before(bytes + at)) return at;
  }
  return most;
}

static uint8_t hex_value(char digit) { return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10); }

static void print_chunk(const uint8_t *bytes, size_t size_bytes) {
  sha256_stream stream;
  char hex[SHA256_HEX_BYTES];
  sha256_begin(&stream);
  sha256_add(&stream, bytes, size_bytes);
  sha256_end_hex(&stream, hex);
  uint8_t entry[4 + DIGEST_BYTES];
  for (int at = 0; at < 4; ++at) entry[at] = (uint8_t)(size_bytes >> (8 * at));
  for (int at = 0; at < DIGEST_BYTES; ++at) entry[4 + at] = (uint8_t)(hex_value(hex[2 * at]) << 4 | hex_value(hex[2 * at + 1]));
  fwrite(entry, 1, sizeof entry, stdout);
}

int device_chunks(const char *path, failure *why) {
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  struct stat found;
  if (descriptor < 0 || fstat(descriptor, &found) != 0) {
    fail(why, "%s: %s", path, strerror(errno));
    return EXIT_FAILED;
  }
  const size_t size_bytes = (size_t)found.st_size;
  if (size_bytes == 0) return 0;
  const uint8_t *bytes = mmap(NULL, size_bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (bytes == MAP_FAILED) {
    fail(why, "%s: %s", path, strerror(errno));
    return EXIT_FAILED;
  }
  madvise((void *)bytes, size_bytes, MADV_SEQUENTIAL);
  setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
  for (size_t at = 0; at < size_bytes;) {
    const size_t length = chunk_bytes(bytes + at, size_bytes - at);
    print_chunk(bytes + at, length);
    at += length;
  }
  return 0;
}
