/*
 * buf: a byte buffer that grows at the end and is eaten at the front.
 *
 * Writers append, readers consume. A zeroed te_buf is an empty one; memory
 * comes with the first byte. Consuming moves an offset; the space in front is
 * reclaimed when the buffer empties or grows.
 */
#ifndef TE_BUF_H
#define TE_BUF_H

#include "te.h"

#define TE_BUF_KEEP_BYTES_MAX ((size_t)1024 * 1024)

typedef struct te_buf {
  char *data;    // NULL until the first append
  size_t start;  // first byte not yet consumed
  size_t end;    // one past the last byte
  size_t cap;
} te_buf;

void te_buf_init(te_buf *b);
void te_buf_free(te_buf *b);   // leaves it empty and usable
void te_buf_clear(te_buf *b);  // keeps the memory
// Gives back what an empty one has beyond TE_BUF_KEEP_BYTES_MAX: for whoever
// may have held something large, and holds no slice of it any more.
void te_buf_shrink(te_buf *b);

size_t te_buf_size(const te_buf *b);
te_slice te_buf_slice(const te_buf *b);  // borrows, until the next append

// Room for `size` more bytes; write there, then te_buf_grow(b, written).
char *te_buf_reserve(te_buf *b, size_t size);
void te_buf_grow(te_buf *b, size_t written);

void te_buf_add(te_buf *b, const void *data, size_t size);
void te_buf_add_slice(te_buf *b, te_slice slice);
void te_buf_add_str(te_buf *b, const char *text);
void te_buf_add_u8(te_buf *b, uint8_t v);
void te_buf_add_u32(te_buf *b, uint32_t v);  // big-endian
void te_buf_add_u64(te_buf *b, uint64_t v);  // big-endian
void te_buf_addf(te_buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// The big-endian number in the 4 bytes there.
uint32_t te_read_u32(const char *at);

// Takes back what was appended last: all but the first `size` bytes.
void te_buf_cut(te_buf *b, size_t size);      // asserts size <= te_buf_size
void te_buf_consume(te_buf *b, size_t size);  // asserts size <= te_buf_size

#endif
