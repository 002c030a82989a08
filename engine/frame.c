#include "frame.h"

#include <assert.h>

#define HEADER_BYTES 4

struct te_frame {
  te_buf in;
};

static void write_u32(char *data, uint32_t v) {
  for (int i = HEADER_BYTES - 1; i >= 0; i--, v >>= 8)
    data[i] = (char)v;
}

te_frame *te_frame_new(void) {
  return te_alloc_zero(1, sizeof(te_frame));
}

void te_frame_free(te_frame *f) {
  if (f == NULL) return;
  te_buf_free(&f->in);
  te_free(f);
}

char *te_frame_reserve(te_frame *f, size_t size) {
  return te_buf_reserve(&f->in, size);
}

void te_frame_grow(te_frame *f, size_t read) {
  te_buf_grow(&f->in, read);
}

int te_frame_next(te_frame *f, te_slice *out) {
  te_slice live = te_buf_slice(&f->in);
  if (live.size < HEADER_BYTES) return 0;

  size_t size = te_read_u32(live.data);
  if (size > TE_FRAME_BYTES_MAX) return TE_ELIMIT;
  if (live.size - HEADER_BYTES < size) return 0;

  *out = te_slice_of(live.data + HEADER_BYTES, size);
  te_buf_consume(&f->in, HEADER_BYTES + size);
  return 1;
}

void te_frame_shrink(te_frame *f) {
  te_buf_shrink(&f->in);
}

size_t te_frame_begin(te_buf *b) {
  size_t mark = te_buf_size(b);
  te_buf_add_u32(b, 0);
  return mark;
}

int te_frame_end(te_buf *b, size_t mark) {
  assert(mark + HEADER_BYTES <= te_buf_size(b));
  size_t size = te_buf_size(b) - mark - HEADER_BYTES;
  if (size > TE_FRAME_BYTES_MAX) {
    te_buf_cut(b, mark);
    return TE_ELIMIT;
  }
  write_u32(b->data + b->start + mark, (uint32_t)size);
  return 0;
}
