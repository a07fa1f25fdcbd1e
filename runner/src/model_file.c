#define _GNU_SOURCE
#include "model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool model_file_hash(model_file *model, const char *path, failure *why) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return fail(why, "cannot open %s: %s", path, strerror(errno));
  struct stat info;
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(file);
    return fail(why, "%s is not a file; this runner takes models that are one file", path);
  }
  static uint8_t chunk[1 << 16];
  sha256_stream stream;
  sha256_begin(&stream);
  for (;;) {
    const ssize_t got = read(file, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int reason = errno;
      close(file);
      return fail(why, "cannot read %s: %s", path, strerror(reason));
    }
    if (got == 0) break;
    sha256_add(&stream, chunk, (size_t)got);
    model->size_bytes += got;
  }
  close(file);
  sha256_end_hex(&stream, model->sha256);
  return true;
}
