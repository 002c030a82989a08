#include "wire.h"

#include <assert.h>
#include <string.h>

#include "frame.h"

// What stands between the kind and the payload.
enum part { TOKEN = 1, REQUEST = 2, NUMBER = 4, BYTE = 8 };

typedef struct layout {
  unsigned parts;
  size_t payload_min;
  size_t payload_max;
} layout;

static bool find_layout(te_wire_kind kind, layout *out) {
  static const layout any = {0, 0, SIZE_MAX};
  *out = any;
  switch (kind) {
    case TE_WIRE_CONFIG:
    case TE_WIRE_LOADS: return true;
    case TE_WIRE_TASK: out->parts = TOKEN; return true;
    case TE_WIRE_REPLY: out->parts = REQUEST | NUMBER; return true;
    case TE_WIRE_ITEM: return true;
    case TE_WIRE_HELLO: out->parts = BYTE; return true;
    case TE_WIRE_REQUEST: out->parts = REQUEST; return true;
    case TE_WIRE_LOG: out->parts = TOKEN | BYTE; return true;
    case TE_WIRE_DONE:
      out->parts = TOKEN | NUMBER;
      out->payload_min = 1;
      return true;
    case TE_WIRE_STATE:
      *out = (layout){TOKEN, 1, TE_WIRE_STATE_BYTES_MAX};
      return true;
    case TE_WIRE_LINK: out->parts = BYTE; break;
    case TE_WIRE_CANCEL:
    case TE_WIRE_WAITS: out->parts = TOKEN | BYTE; break;
    case TE_WIRE_QUIT: break;
    default: return false;
  }
  out->payload_max = 0;
  return true;
}

static size_t parts_size(unsigned parts) {
  return (parts & TOKEN ? 8 : 0) + (parts & REQUEST ? 4 : 0) +
         (parts & NUMBER ? 4 : 0) + (parts & BYTE ? 1 : 0);
}

int te_wire_add(te_buf *out, const te_wire *w) {
  layout l;
  bool is_known = find_layout(w->kind, &l);
  assert(is_known);
  (void)is_known;
  // Not a byte of what is too large is copied.
  if (w->payload.size > TE_FRAME_BYTES_MAX) return TE_ELIMIT;
  size_t mark = te_frame_begin(out);
  te_buf_add_u8(out, (uint8_t)w->kind);
  if (l.parts & TOKEN) {
    te_buf_add_u32(out, w->token.claim);
    te_buf_add_u32(out, w->token.generation);
  }
  if (l.parts & REQUEST) te_buf_add_u32(out, w->request);
  if (l.parts & NUMBER) te_buf_add_u32(out, w->number);
  if (l.parts & BYTE) te_buf_add_u8(out, w->byte);
  te_buf_add_slice(out, w->payload);
  return te_frame_end(out, mark);
}

static uint32_t take_u32(te_slice *s) {
  uint32_t v = te_read_u32(s->data);
  *s = te_slice_of(s->data + 4, s->size - 4);
  return v;
}

int te_wire_read(te_slice frame, te_wire *w) {
  layout l;
  memset(w, 0, sizeof(*w));
  if (frame.size == 0) return TE_EPROTO;
  w->kind = (te_wire_kind)(unsigned char)frame.data[0];
  te_slice rest = te_slice_of(frame.data + 1, frame.size - 1);
  if (!find_layout(w->kind, &l)) return TE_EPROTO;
  if (rest.size < parts_size(l.parts)) return TE_EPROTO;

  if (l.parts & TOKEN) {
    w->token.claim = take_u32(&rest);
    w->token.generation = take_u32(&rest);
  }
  if (l.parts & REQUEST) w->request = take_u32(&rest);
  if (l.parts & NUMBER) w->number = take_u32(&rest);
  if (l.parts & BYTE) {
    w->byte = (uint8_t)rest.data[0];
    rest = te_slice_of(rest.data + 1, rest.size - 1);
  }
  w->payload = rest;
  return rest.size < l.payload_min || rest.size > l.payload_max ? TE_EPROTO : 0;
}
