#include "following_digest.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18 }; /* what a second-level cache holds: read and hashed, it never reaches memory */

struct following_digest {
  int descriptor;
  const char *path;
  pthread_t thread;
  bool has_thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  uint64_t written_bytes; /* under the lock, as `ended` */
  bool ended;
  uint64_t hashed_bytes; /* from here on the following thread's alone */
  sha256_stream stream;
  bool worked;
  failure why;
  uint8_t bytes[READ_BYTES];
};

/* Waits for bytes beyond those that are hashed; returns where the file is written up to. */
static uint64_t wait_for_bytes(following_digest *digest) {
  pthread_mutex_lock(&digest->lock);
  while (!digest->ended && digest->written_bytes == digest->hashed_bytes) {
    pthread_cond_wait(&digest->changed, &digest->lock);
  }
  const uint64_t written_bytes = digest->written_bytes;
  pthread_mutex_unlock(&digest->lock);
  return written_bytes;
}

static bool hash_up_to(following_digest *digest, uint64_t written_bytes) {
  while (digest->hashed_bytes < written_bytes) {
    const uint64_t left = written_bytes - digest->hashed_bytes;
    const size_t wanted = left < READ_BYTES ? (size_t)left : READ_BYTES;
    const ssize_t got = pread(digest->descriptor, digest->bytes, wanted, (off_t)digest->hashed_bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(&digest->why, "%s: %s", digest->path, strerror(errno));
    if (got == 0) return fail(&digest->why, "%s: was cut by somebody else while it was written", digest->path);
    sha256_add(&digest->stream, digest->bytes, (size_t)got);
    digest->hashed_bytes += (uint64_t)got;
  }
  return true;
}

static void *follow(void *argument) {
  following_digest *digest = argument;
  for (;;) {
    const uint64_t written_bytes = wait_for_bytes(digest);
    if (written_bytes == digest->hashed_bytes) return NULL; /* no more to come */
    digest->worked = hash_up_to(digest, written_bytes);
    if (!digest->worked) return NULL;
  }
}

following_digest *following_digest_begin(int descriptor, const char *path) {
  following_digest *digest = malloc(sizeof *digest);
  if (digest == NULL) {
    perror("edgedeploy-device");
    exit(EXIT_FAILURE);
  }
  *digest = (following_digest){.descriptor = descriptor, .path = path, .worked = true};
  sha256_begin(&digest->stream);
  pthread_mutex_init(&digest->lock, NULL);
  pthread_cond_init(&digest->changed, NULL);
  /* Without a thread (a limit on processes) all is hashed at the end. */
  digest->has_thread = pthread_create(&digest->thread, NULL, follow, digest) == 0;
  return digest;
}

void following_digest_reach(following_digest *digest, uint64_t written_bytes) {
  pthread_mutex_lock(&digest->lock);
  digest->written_bytes = written_bytes;
  pthread_cond_signal(&digest->changed);
  pthread_mutex_unlock(&digest->lock);
}

bool following_digest_end(following_digest *digest, char hex[SHA256_HEX_BYTES], failure *why) {
  pthread_mutex_lock(&digest->lock);
  digest->ended = true;
  pthread_cond_signal(&digest->changed);
  pthread_mutex_unlock(&digest->lock);
  if (digest->has_thread) {
    pthread_join(digest->thread, NULL);
  } else {
    follow(digest);
  }
  const bool worked = digest->worked;
  if (worked) sha256_end_hex(&digest->stream, hex);
  if (!worked) *why = digest->why;
  free(digest);
  return worked;
}
