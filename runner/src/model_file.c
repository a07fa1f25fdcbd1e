#define _GNU_SOURCE
#include "model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static int64_t cached_bytes(int file, size_t size_bytes) {
  if (size_bytes == 0) return 0;
  const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE), pages = (size_bytes + page_bytes - 1) / page_bytes;
  void *mapping = mmap(NULL, size_bytes, PROT_READ, MAP_PRIVATE, file, 0);
  if (mapping == MAP_FAILED) return -1;
  unsigned char *resident = malloc(pages);
  int64_t cached = -1;
  if (resident != NULL && mincore(mapping, size_bytes, resident) == 0) {
    cached = 0;
    for (size_t i = 0; i < pages; ++i) cached += (resident[i] & 1) * (int64_t)page_bytes;
  }
  free(resident);
  munmap(mapping, size_bytes);
  return cached < (int64_t)size_bytes ? cached : (int64_t)size_bytes;
}

int64_t model_file_evict(const char *path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  struct stat info;
  /* Pages that are not yet on the storage would stay, and a file that has just been pushed has many. */
  fdatasync(file);
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  const int64_t cached = fstat(file, &info) == 0 ? cached_bytes(file, (size_t)info.st_size) : -1;
  close(file);
  return cached;
}
