/* SHA-256 as FIPS 180-4 defines it, by the processor's own instructions where it has them. Every way of computing it
 * that this machine has is checked against the standard's examples in tests/test_sha256.c. */
#ifndef EDGEDEPLOY_SHA256_H
#define EDGEDEPLOY_SHA256_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Takes whole blocks of 64 bytes into the state. */
typedef void sha256_blocks(uint32_t state[8], const uint8_t *blocks, size_t block_count);

typedef struct {
  sha256_blocks *take_blocks;
  uint32_t state[8];
  uint64_t length_bytes;
  uint8_t pending[64];
  size_t pending_bytes;
} sha256_stream;

#define SHA256_HEX_BYTES 65 /* 64 digits and the terminator */

/* The fastest way of this processor. */
void sha256_begin(sha256_stream *stream);
/* One of sha256_blocks.h. */
void sha256_begin_by(sha256_stream *stream, sha256_blocks *take_blocks);
void sha256_add(sha256_stream *stream, const void *bytes, size_t size_bytes);
/* Writes the digest as lower-case hex. The stream cannot be added to afterwards. */
void sha256_end_hex(sha256_stream *stream, char hex[SHA256_HEX_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
