#include "utf8.h"

#include <string.h>

#define WORD_BYTES sizeof(uint64_t)
#define HIGH_BITS  UINT64_C(0x8080808080808080)

// Nearly all strings are ASCII, so that part goes a word at a time.
static size_t ascii_span(te_slice bytes) {
  size_t at = 0;
  for (; bytes.size - at >= WORD_BYTES; at += WORD_BYTES) {
    uint64_t word;
    memcpy(&word, bytes.data + at, sizeof(word));
    if ((word & HIGH_BITS) != 0) break;
  }
  while (at < bytes.size && (bytes.data[at] & 0x80) == 0)
    at++;
  return at;
}

// The bytes of a character by its first one; 0 when none starts so.
static size_t char_size(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;  // a continuation, or overlong
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

// Overlong forms, surrogates and too large ones show in the second byte.
static bool second_fits(uint8_t lead, uint8_t second) {
  switch (lead) {
    case 0xe0: return second >= 0xa0;
    case 0xed: return second < 0xa0;
    case 0xf0: return second >= 0x90;
    case 0xf4: return second < 0x90;
    default: return true;
  }
}

// The size of the character at the front; 0 when there is none.
static size_t whole_char(const uint8_t *at, size_t left) {
  size_t size = char_size(at[0]);
  if (size == 0 || size > left) return 0;
  for (size_t i = 1; i < size; i++)
    if ((at[i] & 0xc0) != 0x80) return 0;
  return size == 1 || second_fits(at[0], at[1]) ? size : 0;
}

size_t te_utf8_span(te_slice bytes) {
  size_t at = ascii_span(bytes);
  while (at < bytes.size) {
    size_t size = whole_char((const uint8_t *)bytes.data + at, bytes.size - at);
    if (size == 0) break;
    at += size;
  }
  return at;
}

bool te_utf8_valid(te_slice bytes) {
  return te_utf8_span(bytes) == bytes.size;
}
