#include "record.h"

#include "pack.h"

static void add_text(te_buf *out, const char *text) {
  te_item item = te_item_of_bytes(te_slice_str(text));
  te_pack_add(out, &item);
}

void te_record_failure(te_buf *out, const char *kind, const char *message) {
  te_item map = {.kind = TE_ITEM_MAP, .count = 2};
  te_buf_add_u8(out, 'F');
  te_pack_add(out, &map);
  add_text(out, "kind");
  add_text(out, kind);
  add_text(out, "message");
  add_text(out, message);
}
