#include "id.h"

#include <assert.h>
#include <string.h>

#define BASE         62
#define LETTERS      52
#define CHANCE_BYTES 24  // an id takes 12 or a few more

static const char digits[BASE] = "0123456789"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz";

// 0 to 61, or -1.
static int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  if (c >= 'a' && c <= 'z') return c - 'a' + 36;
  return -1;
}

// Random bytes that are left of those fetched last: one system call for an id.
typedef struct chance {
  uint8_t byte[CHANCE_BYTES];
  size_t left;
} chance;

// Below `limit`, each equally likely: bytes of the uneven rest are redrawn.
static uint8_t draw(chance *c, uint8_t limit) {
  uint8_t byte;
  do {
    if (c->left == 0) {
      te_random(c->byte, sizeof(c->byte));
      c->left = sizeof(c->byte);
    }
    byte = c->byte[--c->left];
  } while (byte >= 256 / limit * limit);
  return byte % limit;
}

void te_id_producer(char out[TE_ID_PRODUCER_BYTES]) {
  chance c = {.left = 0};
  out[0] = digits[BASE - LETTERS + draw(&c, LETTERS)];
  for (int i = 1; i < TE_ID_PRODUCER_BYTES; i++)
    out[i] = digits[draw(&c, BASE)];
}

void te_id_format(char out[TE_ID_BYTES],
                  const char producer[TE_ID_PRODUCER_BYTES], uint64_t seq) {
  assert(seq <= TE_ID_SEQ_MAX);
  memcpy(out, producer, TE_ID_PRODUCER_BYTES);
  for (int i = TE_ID_BYTES - 1; i >= TE_ID_PRODUCER_BYTES; i--) {
    out[i] = digits[seq % BASE];
    seq /= BASE;
  }
}

int te_id_seq(te_slice id, uint64_t *seq) {
  // The first one is a letter.
  if (id.size != TE_ID_BYTES || digit_value(id.data[0]) < BASE - LETTERS) {
    return TE_EMALFORMED;
  }
  uint64_t value = 0;
  for (size_t i = 1; i < TE_ID_BYTES; i++) {
    int digit = digit_value(id.data[i]);
    if (digit < 0) return TE_EMALFORMED;
    if (i >= TE_ID_PRODUCER_BYTES) value = value * BASE + (uint64_t)digit;
  }
  *seq = value;
  return 0;
}
