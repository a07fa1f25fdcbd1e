/* The ways of computing SHA-256: one in C for every processor, one in the SHA instructions of x86-64, one in ARMv8's. */
#ifndef EDGEDEPLOY_SHA256_BLOCKS_H
#define EDGEDEPLOY_SHA256_BLOCKS_H

#include "sha256.h"

extern const uint32_t sha256_round_constants[64];

void sha256_blocks_portable(uint32_t state[8], const uint8_t *blocks, size_t block_count);

/* NULL where the program was compiled for another processor, or this one does not have the instructions. */
sha256_blocks *sha256_blocks_x86_64(void);
sha256_blocks *sha256_blocks_aarch64(void);

#endif
