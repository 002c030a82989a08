/*
 * What a child says, or whatever writes into its channel: frames in any
 * pieces, the messages in them, the outcomes in those.
 */
#include "wire.h"

#include "frame.h"
#include "record.h"
#include "support/fuzz.h"

static void check_record(te_slice record) {
  te_slice kind = te_record_text(record, "kind");
  te_slice message = te_record_text(record, "message");
  assert(kind.size + message.size <= 2 * record.size);
  if (te_record_is_success(record)) assert(kind.size == 0);
  te_record_field(record, "error");
}

// A message that was read is written as the same bytes.
static void check_message(te_slice frame) {
  te_wire w;
  if (te_wire_read(frame, &w) < 0) return;
  te_buf out = {0};
  int rc = te_wire_add(&out, &w);
  assert(rc == 0);
  te_slice body = te_buf_slice(&out);
  assert(te_read_u32(body.data) == frame.size);
  assert(te_slice_equal(te_slice_of(body.data + 4, body.size - 4), frame));
  te_buf_free(&out);
  check_record(w.payload);
}

// Notes all whole frames; 0, or why the stream ended.
static int read_all(te_frame *f, te_slice bytes, te_buf *log) {
  for (size_t i = 0; i < bytes.size; i++)
    te_frame_reserve(f, bytes.size)[i] = bytes.data[i];
  te_frame_grow(f, bytes.size);
  te_slice frame;
  int rc = te_frame_next(f, &frame);
  for (; rc == 1; rc = te_frame_next(f, &frame)) {
    te_buf_add_u32(log, (uint32_t)frame.size);
    te_buf_add_slice(log, frame);
    check_message(frame);
  }
  return rc;
}

void fuzz_one(te_slice bytes) {
  fuzz_pieces pieces = fuzz_cut(bytes);
  te_buf whole = {0};
  te_buf cut = {0};
  te_frame *f = te_frame_new();
  int rc = read_all(f, pieces.rest, &whole);
  te_frame_free(f);

  f = te_frame_new();
  int cut_rc = 0;
  while (pieces.rest.size > 0 && cut_rc == 0)
    cut_rc = read_all(f, fuzz_next_piece(&pieces), &cut);
  te_frame_free(f);
  assert(rc == cut_rc);
  assert(te_slice_equal(te_buf_slice(&whole), te_buf_slice(&cut)));
  te_buf_free(&whole);
  te_buf_free(&cut);

  // Without a frame around it: found sooner.
  check_message(bytes);
}
