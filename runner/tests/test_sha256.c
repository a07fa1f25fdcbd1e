/* Examples of FIPS 180-4 as NIST published them with the standard ("SHA-256 examples"), and the million-a message. */
#include <string.h>

#include "check.h"
#include "sha256_blocks.h"

static void expect(sha256_blocks *way, const char *message, size_t size, size_t step, const char *digest) {
  sha256_stream stream;
  if (way == NULL) sha256_begin(&stream);
  if (way != NULL) sha256_begin_by(&stream, way);
  for (size_t at = 0; at < size; at += step) sha256_add(&stream, message + at, size - at < step ? size - at : step);
  char hex[SHA256_HEX_BYTES];
  sha256_end_hex(&stream, hex);
  if (strcmp(hex, digest) != 0) fprintf(stderr, "%zu bytes by %zu: %s, expected %s\n", size, step, hex, digest);
  CHECK(strcmp(hex, digest) == 0);
}

static void expect_examples(sha256_blocks *way) {
  static const char one_block[] = "abc";
  static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  static const char long_blocks[] =
      "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
  static char million[1000000];
  memset(million, 'a', sizeof million);
  /* Every way of cutting the message into pieces has to give the same digest. */
  for (size_t step = 1; step <= 130; ++step) {
    expect(way, "", 0, step, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(way, one_block, 3, step, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(way, two_blocks, 56, step, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    expect(way, long_blocks, 112, step, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  }
  expect(way, million, sizeof million, 4093, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  expect(way, million, sizeof million, sizeof million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void) {
  expect_examples(NULL);
  expect_examples(sha256_blocks_portable);
  sha256_blocks *const own_instructions[] = {sha256_blocks_x86_64(), sha256_blocks_aarch64()};
  for (size_t i = 0; i < 2; ++i) {
    if (own_instructions[i] != NULL) expect_examples(own_instructions[i]);
  }
  printf("instructions of x86-64: %s, of aarch64: %s\n", own_instructions[0] ? "checked" : "not here",
         own_instructions[1] ? "checked" : "not here");
  return failed_checks != 0;
}
