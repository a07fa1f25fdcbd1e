/* CMakeLists.txt compiles this file, and no other, for processors with ARMv8's cryptographic extension. So nothing in
 * it may run on others but the question whether this one has it, which needs no such instruction. */
#include "sha256_blocks.h"

#if defined(__aarch64__) && defined(__linux__)

#include <arm_neon.h>
#include <sys/auxv.h>

#ifndef HWCAP_SHA2
#define HWCAP_SHA2 (1 << 6) /* the kernel's Documentation/arch/arm64/elf_hwcaps.rst */
#endif

static void take_blocks(uint32_t state[8], const uint8_t *blocks, size_t block_count) {
  uint32x4_t abcd = vld1q_u32(state);
  uint32x4_t efgh = vld1q_u32(state + 4);
  for (; block_count > 0; --block_count, blocks += 64) {
    const uint32x4_t abcd_before = abcd;
    const uint32x4_t efgh_before = efgh;
    uint32x4_t word[4]; /* the last 16 words of the message schedule, a ring of four times four */
#pragma GCC unroll 16
    for (int four = 0; four < 16; ++four) {
      uint32x4_t *next = &word[four % 4];
      if (four < 4) {
        *next = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(blocks + 16 * four)));
      } else {
        *next = vsha256su1q_u32(vsha256su0q_u32(*next, word[(four + 1) % 4]), word[(four + 2) % 4], word[(four + 3) % 4]);
      }
      const uint32x4_t added = vaddq_u32(*next, vld1q_u32(sha256_round_constants + 4 * four));
      const uint32x4_t abcd_now = abcd;
      abcd = vsha256hq_u32(abcd, efgh, added);
      efgh = vsha256h2q_u32(efgh, abcd_now, added);
    }
    abcd = vaddq_u32(abcd, abcd_before);
    efgh = vaddq_u32(efgh, efgh_before);
  }
  vst1q_u32(state, abcd);
  vst1q_u32(state + 4, efgh);
}

sha256_blocks *sha256_blocks_aarch64(void) { return getauxval(AT_HWCAP) & HWCAP_SHA2 ? take_blocks : NULL; }

#else

sha256_blocks *sha256_blocks_aarch64(void) { return NULL; }

#endif
