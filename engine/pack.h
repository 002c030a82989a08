/*
 * pack: MessagePack as a format: items out, items in, no Lua.
 *
 * An item is one value, or the head of a container whose values follow.
 * What is written takes the shortest form, floats always 64 bits. What is
 * read may come from anyone: a reader refuses a truncated value, a container
 * that announces more than the bytes left could hold, an integer above
 * INT64_MAX, and extension types, none of which is in use (0 to 127 stay
 * reserved for this project).
 */
#ifndef TE_PACK_H
#define TE_PACK_H

#include "buf.h"

typedef enum te_item_kind {
  TE_ITEM_NIL,
  TE_ITEM_BOOL,
  TE_ITEM_INT,
  TE_ITEM_FLOAT,
  TE_ITEM_STR,    // text; a foreign writer may have put other bytes there
  TE_ITEM_BIN,    // bytes
  TE_ITEM_ARRAY,  // `count` values follow
  TE_ITEM_MAP     // `count` times a key and a value follow
} te_item_kind;

typedef struct te_item {
  te_item_kind kind;
  union {
    bool truth;
    int64_t integer;
    double number;
    te_slice bytes;  // borrows from what it was read from or made of
    size_t count;
  };
} te_item;

// STR when the bytes are UTF-8, else BIN.
te_item te_item_of_bytes(te_slice bytes);
bool te_item_is_bytes(const te_item *item);  // STR or BIN
bool te_item_is_open(const te_item *item);   // ARRAY or MAP

// The least that the item and all it announces can take, for limits.
size_t te_item_size_min(const te_item *item);

// Appends one; sizes and counts are at most UINT32_MAX.
void te_pack_add(te_buf *out, const te_item *item);

/*
 * Reads items from the front. `owed` are the values that open containers
 * still wait for; each takes a byte at least.
 */
typedef struct te_reader {
  const char *at;
  const char *end;
  size_t owed;
} te_reader;

te_reader te_reader_of(te_slice bytes);  // of one value; borrows the bytes

// 0, or TE_EMALFORMED. Never called for more values than were announced.
int te_reader_next(te_reader *r, te_item *item);

// The same where a map's key stands: no nil, no NaN, no container.
int te_reader_next_key(te_reader *r, te_item *item);

/*
 * Passes over a whole value, `depth_max` containers deep at most, and says
 * where it lies. 0, TE_EMALFORMED or TE_EDEPTH.
 */
int te_reader_skip(te_reader *r, int depth_max, te_slice *raw);

#endif
