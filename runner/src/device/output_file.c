#include "output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool output_open(output_file *file, const char *path, int flags, uint64_t at_bytes, failure *why) {
  *file = (output_file){.path = path, .at_bytes = at_bytes};
  file->descriptor = open(path, O_RDWR | O_CLOEXEC | flags, 0666);
  struct stat found;
  if (file->descriptor < 0 || fstat(file->descriptor, &found) != 0) return fail(why, "%s: %s", path, strerror(errno));
  file->digest = following_digest_begin(file->descriptor, path);
  const uint64_t there_bytes = (uint64_t)found.st_size;
  following_digest_reach(file->digest, there_bytes < at_bytes ? there_bytes : at_bytes);
  return true;
}

bool output_append(output_file *file, const uint8_t *bytes, size_t size_bytes, failure *why) {
  while (size_bytes > 0) {
    const ssize_t wrote = pwrite(file->descriptor, bytes, size_bytes, (off_t)file->at_bytes);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail(why, "%s: %s", file->path, strerror(errno));
    bytes += wrote;
    size_bytes -= (size_t)wrote;
    file->at_bytes += (uint64_t)wrote;
  }
  following_digest_reach(file->digest, file->at_bytes);
  return true;
}

bool output_close(output_file *file, failure *why) {
  char hex[SHA256_HEX_BYTES];
  following_digest_reach(file->digest, file->at_bytes);
  if (!following_digest_end(file->digest, hex, why)) return false;
  /* Some file systems say only now that there was no room. */
  if (close(file->descriptor) != 0) return fail(why, "%s: %s", file->path, strerror(errno));
  printf("%s %" PRIu64 "\n", hex, file->at_bytes);
  return true;
}
