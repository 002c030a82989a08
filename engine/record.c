#include "record.h"

#include <ctype.h>

#include "id.h"
#include "pack.h"

static void add_text(te_buf *out, const char *text) {
  te_item item = te_item_of_bytes(te_slice_str(text));
  te_pack_add(out, &item);
}

static void add_end(te_buf *out, char letter, const char *kind,
                    const char *message) {
  te_item map = {.kind = TE_ITEM_MAP, .count = 2};
  te_buf_add_u8(out, (uint8_t)letter);
  te_pack_add(out, &map);
  add_text(out, "kind");
  add_text(out, kind);
  add_text(out, "message");
  add_text(out, message);
}

void te_record_failure(te_buf *out, const char *kind, const char *message) {
  add_end(out, 'F', kind, message);
}

void te_record_revocation(te_buf *out, const char *message) {
  add_end(out, 'R', "Revoked", message);
}

bool te_record_is_outcome(te_slice record) {
  if (record.size < 2) return false;
  char letter = record.data[0];
  return te_record_is_success(record) || letter == 'F' || letter == 'R';
}

bool te_record_is_success(te_slice record) {
  return record.size > 0 && (record.data[0] == 'S' || record.data[0] == 'J');
}

bool te_record_is_delegation(te_slice record) {
  if (record.size != 1 + TE_ID_PRODUCER_BYTES) return false;
  for (size_t i = 1; i < record.size; i++)
    if (isalnum((unsigned char)record.data[i]) == 0) return false;
  return record.data[0] == 'D';
}

// The text behind `key` in the map that `r` stands before.
static te_slice find_text(te_reader *r, te_slice key) {
  te_slice none = {"", 0};
  te_item item;
  te_slice raw;
  if (te_reader_next(r, &item) < 0 || item.kind != TE_ITEM_MAP) return none;
  for (size_t left = item.count; left > 0; left--) {
    if (te_reader_next_key(r, &item) < 0) return none;
    bool is_it = te_item_is_bytes(&item) && te_slice_equal(item.bytes, key);
    if (!is_it) {
      if (te_reader_skip(r, TE_VALUE_DEPTH_MAX, &raw) < 0) return none;
      continue;
    }
    if (te_reader_next(r, &item) < 0 || !te_item_is_bytes(&item)) return none;
    return item.bytes;
  }
  return none;
}

te_slice te_record_field(te_slice map, const char *key) {
  if (map.size == 0) return te_slice_of("", 0);
  te_reader r = te_reader_of(map);
  return find_text(&r, te_slice_str(key));
}

te_slice te_record_text(te_slice record, const char *key) {
  bool is_failure =
      record.size > 0 && (record.data[0] == 'F' || record.data[0] == 'R');
  if (!is_failure) return te_slice_of("", 0);
  return te_record_field(te_slice_of(record.data + 1, record.size - 1), key);
}
