#include "buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CAP_BYTES_MIN 256

void te_buf_init(te_buf *b) {
  memset(b, 0, sizeof(*b));
}

void te_buf_free(te_buf *b) {
  te_free(b->data);
  te_buf_init(b);
}

void te_buf_clear(te_buf *b) {
  b->start = b->end = 0;
}

void te_buf_shrink(te_buf *b) {
  if (b->start == b->end && b->cap > TE_BUF_KEEP_BYTES_MAX) te_buf_free(b);
}

size_t te_buf_size(const te_buf *b) {
  return b->end - b->start;
}

te_slice te_buf_slice(const te_buf *b) {
  // A NULL may not be added to, not even zero.
  if (b->data == NULL) return te_slice_of(NULL, 0);
  return te_slice_of(b->data + b->start, te_buf_size(b));
}

/*
 * Larger than what is there, even when the bytes would fit after a move: a
 * buffer that stays nearly full would be moved at every append.
 */
static size_t larger_cap(const te_buf *b, size_t needed) {
  size_t cap = b->cap == 0 ? CAP_BYTES_MIN : b->cap * 2;
  while (cap < needed)
    cap *= 2;
  return cap;
}

// Makes room at the end: in place when eating freed enough, else elsewhere.
static void make_room(te_buf *b, size_t size) {
  size_t live = te_buf_size(b);
  assert(b->data != NULL || (live == 0 && b->cap == 0));
  assert(size <= SIZE_MAX / 4 - live);
  size_t needed = live + size;
  // Moving at most half of the memory keeps an append O(1) on average.
  if (b->data != NULL && needed <= b->cap && live <= b->cap / 2) {
    memmove(b->data, b->data + b->start, live);
  } else {
    size_t cap = larger_cap(b, needed);
    char *data = te_alloc(cap);
    if (live > 0) memcpy(data, b->data + b->start, live);
    te_free(b->data);
    b->data = data;
    b->cap = cap;
  }
  b->start = 0;
  b->end = live;
}

char *te_buf_reserve(te_buf *b, size_t size) {
  if (b->start == b->end) {
    // One large message is not to cost its size for the rest of the run.
    if (size <= b->cap / 4) te_buf_shrink(b);
    te_buf_clear(b);
  }
  if (b->data == NULL || b->cap - b->end < size) make_room(b, size);
  return b->data + b->end;
}

void te_buf_grow(te_buf *b, size_t written) {
  assert(written <= b->cap - b->end);
  b->end += written;
}

void te_buf_add(te_buf *b, const void *data, size_t size) {
  if (size == 0) return;
  memcpy(te_buf_reserve(b, size), data, size);
  b->end += size;
}

void te_buf_add_slice(te_buf *b, te_slice slice) {
  te_buf_add(b, slice.data, slice.size);
}

void te_buf_add_str(te_buf *b, const char *text) {
  te_buf_add(b, text, strlen(text));
}

void te_buf_add_u8(te_buf *b, uint8_t v) {
  te_buf_add(b, &v, 1);
}

void te_buf_add_u32(te_buf *b, uint32_t v) {
  uint8_t bytes[4];
  for (int i = 3; i >= 0; i--, v >>= 8)
    bytes[i] = (uint8_t)v;
  te_buf_add(b, bytes, sizeof(bytes));
}

void te_buf_add_u64(te_buf *b, uint64_t v) {
  uint8_t bytes[8];
  for (int i = 7; i >= 0; i--, v >>= 8)
    bytes[i] = (uint8_t)v;
  te_buf_add(b, bytes, sizeof(bytes));
}

void te_buf_addf(te_buf *b, const char *format, ...) {
  va_list args;
  va_start(args, format);
  va_list again;
  va_copy(again, args);
  int size = vsnprintf(NULL, 0, format, args);
  va_end(args);
  assert(size >= 0);
  // One more for the NUL, which is written but does not count.
  char *at = te_buf_reserve(b, (size_t)size + 1);
  vsnprintf(at, (size_t)size + 1, format, again);
  va_end(again);
  b->end += (size_t)size;
}

void te_buf_cut(te_buf *b, size_t size) {
  assert(size <= te_buf_size(b));
  b->end = b->start + size;
}

void te_buf_consume(te_buf *b, size_t size) {
  assert(size <= te_buf_size(b));
  b->start += size;
}

uint32_t te_read_u32(const char *at) {
  const unsigned char *b = (const unsigned char *)at;
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
         b[3];
}
