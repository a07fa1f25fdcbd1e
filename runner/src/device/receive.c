#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output_file.h"
#include "verbs.h"

enum { READ_BYTES = 1 << 20 };

static bool copy_input(output_file *file, failure *why) {
  static uint8_t bytes[READ_BYTES];
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got == 0) return true;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(why, "standard input: %s", strerror(errno));
    if (!output_append(file, bytes, (size_t)got, why)) return false;
  }
}

/* The file ends where the input did. But an input may also end because the connection was lost, and be noticed minutes
 * later, when another process has long received more of the same content: so a caller that knows the size gives it, and
 * the file is cut only where all of it came. */
static bool cut_to_end(const output_file *file, const receive_arguments *arguments, failure *why) {
  struct stat found;
  if (fstat(file->descriptor, &found) != 0) return fail(why, "%s: %s", file->path, strerror(errno));
  const uint64_t there_bytes = (uint64_t)found.st_size;
  const bool all_came = !arguments->has_size || file->at_bytes == arguments->size_bytes;
  const bool wrong_end = there_bytes < file->at_bytes || (there_bytes > file->at_bytes && all_came);
  if (wrong_end && ftruncate(file->descriptor, (off_t)file->at_bytes) != 0) {
    return fail(why, "%s: %s", file->path, strerror(errno));
  }
  return true;
}

int device_receive(const receive_arguments *arguments, failure *why) {
  output_file file;
  if (!output_open(&file, arguments->file, O_CREAT, arguments->offset_bytes, why)) return EXIT_FAILED;
  if (!copy_input(&file, why) || !cut_to_end(&file, arguments, why)) return EXIT_FAILED;
  if (arguments->sync && fsync(file.descriptor) != 0) {
    fail(why, "%s: %s", file.path, strerror(errno));
    return EXIT_FAILED;
  }
  return output_close(&file, why) ? 0 : EXIT_FAILED;
}
