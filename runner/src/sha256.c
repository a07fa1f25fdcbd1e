#include "sha256.h"

#include <string.h>

#include "sha256_blocks.h"

static sha256_blocks *fastest(void) {
  sha256_blocks *take_blocks = sha256_blocks_x86_64();
  if (take_blocks == NULL) take_blocks = sha256_blocks_aarch64();
  return take_blocks == NULL ? sha256_blocks_portable : take_blocks;
}

void sha256_begin(sha256_stream *stream) { sha256_begin_by(stream, fastest()); }

void sha256_begin_by(sha256_stream *stream, sha256_blocks *take_blocks) {
  /* FIPS 180-4, 5.3.3: fractional parts of the square roots of the first eight primes. */
  static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  stream->take_blocks = take_blocks;
  memcpy(stream->state, initial, sizeof initial);
  stream->length_bytes = 0;
  stream->pending_bytes = 0;
}

void sha256_add(sha256_stream *stream, const void *bytes, size_t size_bytes) {
  const uint8_t *next = bytes;
  stream->length_bytes += size_bytes;
  while (size_bytes > 0) {
    if (stream->pending_bytes == 0 && size_bytes >= 64) {
      const size_t block_count = size_bytes / 64;
      stream->take_blocks(stream->state, next, block_count);
      next += 64 * block_count;
      size_bytes -= 64 * block_count;
      continue;
    }
    size_t take = 64 - stream->pending_bytes;
    if (take > size_bytes) take = size_bytes;
    memcpy(stream->pending + stream->pending_bytes, next, take);
    stream->pending_bytes += take;
    next += take;
    size_bytes -= take;
    if (stream->pending_bytes == 64) {
      stream->take_blocks(stream->state, stream->pending, 1);
      stream->pending_bytes = 0;
    }
  }
}

void sha256_end_hex(sha256_stream *stream, char hex[SHA256_HEX_BYTES]) {
  const uint64_t length_bits = stream->length_bytes * 8;
  static const uint8_t padding[64] = {0x80};
  const size_t used = stream->pending_bytes;
  sha256_add(stream, padding, used < 56 ? 56 - used : 120 - used);
  uint8_t length[8];
  for (int i = 0; i < 8; ++i) length[i] = (uint8_t)(length_bits >> (56 - 8 * i));
  sha256_add(stream, length, sizeof length);
  static const char digit[] = "0123456789abcdef";
  for (int i = 0; i < 32; ++i) {
    const uint8_t byte = (uint8_t)(stream->state[i / 4] >> (24 - 8 * (i % 4)));
    hex[2 * i] = digit[byte >> 4];
    hex[2 * i + 1] = digit[byte & 15];
  }
  hex[64] = '\0';
}
