/* The SHA-256 of a file that is still being written: a second thread reads behind the writer, so that writing and
 * hashing use two cores, and a writer is never held up by the hashing of what was there before it began. What it reads
 * was written a moment ago, and comes out of memory. */
#ifndef EDGEDEPLOY_DEVICE_FOLLOWING_DIGEST_H
#define EDGEDEPLOY_DEVICE_FOLLOWING_DIGEST_H

#include <stdint.h>

#include "failure.h"
#include "sha256.h"

typedef struct following_digest following_digest;

/* `path` is for messages. Exits the program where there is no memory. */
following_digest *following_digest_begin(int descriptor, const char *path);
/* The file's bytes 0 … written_bytes-1 will not change any more. */
void following_digest_reach(following_digest *digest, uint64_t written_bytes);
/* The file ends where it was last reached; waits until it has been read up to there, and frees. */
bool following_digest_end(following_digest *digest, char hex[SHA256_HEX_BYTES], failure *why);

#endif
