#include "sha256.h"

#include <string.h>

#define BLOCK_BYTES 64
#define STATE_WORDS 8
#define ROUNDS      64

// The fractions of the cube roots of the first 64 primes.
static const uint32_t K[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t v, int n) {
  return v >> n | v << (32 - n);
}

static uint32_t read_word(const unsigned char *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 |
         at[3];
}

static void write_word(unsigned char *at, uint32_t v) {
  for (int i = 3; i >= 0; i--, v >>= 8)
    at[i] = (unsigned char)(v & 0xff);
}

static void expand(const unsigned char *block, uint32_t w[ROUNDS]) {
  for (int i = 0; i < 16; i++, block += 4)
    w[i] = read_word(block);
  for (int i = 16; i < ROUNDS; i++) {
    uint32_t a = w[i - 15];
    uint32_t b = w[i - 2];
    w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
           (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
  }
}

static void add_block(uint32_t state[STATE_WORDS], const unsigned char *block) {
  uint32_t w[ROUNDS];
  uint32_t s[STATE_WORDS];
  expand(block, w);
  memcpy(s, state, sizeof(s));
  for (int i = 0; i < ROUNDS; i++) {
    uint32_t a = s[0];
    uint32_t e = s[4];
    uint32_t one = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                   ((e & s[5]) ^ (~e & s[6])) + K[i] + w[i];
    uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                   ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, sizeof(s) - sizeof(s[0]));
    s[4] += one;
    s[0] = one + two;
  }
  for (int i = 0; i < STATE_WORDS; i++)
    state[i] += s[i];
}

// What does not fill a block, a bit, and the length in bits.
static void add_rest(uint32_t state[STATE_WORDS], te_slice bytes) {
  unsigned char last[2 * BLOCK_BYTES] = {0};
  size_t left = bytes.size % BLOCK_BYTES;
  size_t size = left + 9 > BLOCK_BYTES ? 2 * BLOCK_BYTES : BLOCK_BYTES;
  uint64_t bits = (uint64_t)bytes.size * 8;
  memcpy(last, bytes.data + bytes.size - left, left);
  last[left] = 0x80;
  write_word(last + size - 8, (uint32_t)(bits >> 32));
  write_word(last + size - 4, (uint32_t)bits);
  for (size_t at = 0; at < size; at += BLOCK_BYTES)
    add_block(state, last + at);
}

void te_sha256(te_slice bytes, unsigned char out[TE_SHA256_BYTES]) {
  // The fractions of the square roots of the first 8 primes.
  uint32_t state[STATE_WORDS] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372,
                                 0xa54ff53a, 0x510e527f, 0x9b05688c,
                                 0x1f83d9ab, 0x5be0cd19};
  for (size_t at = 0; bytes.size - at >= BLOCK_BYTES; at += BLOCK_BYTES)
    add_block(state, (const unsigned char *)bytes.data + at);
  add_rest(state, bytes);
  for (int i = 0; i < STATE_WORDS; i++, out += 4)
    write_word(out, state[i]);
}
