#include "pack.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "utf8.h"

#define HEAD_BYTES_MAX 9

// The tags of a kind that has a size or a count; 0 where it has no such form.
typedef struct form {
  uint8_t fix;
  uint8_t fix_end;  // sizes below lie in the tag itself
  uint8_t tag8;
  uint8_t tag16;
  uint8_t tag32;
} form;

static const form STR_FORM = {0xa0, 32, 0xd9, 0xda, 0xdb};
static const form BIN_FORM = {0, 0, 0xc4, 0xc5, 0xc6};
static const form ARRAY_FORM = {0x90, 16, 0, 0xdc, 0xdd};
static const form MAP_FORM = {0x80, 16, 0, 0xde, 0xdf};

te_item te_item_of_bytes(te_slice bytes) {
  te_item item = {.kind = te_utf8_valid(bytes) ? TE_ITEM_STR : TE_ITEM_BIN,
                  .bytes = bytes};
  return item;
}

bool te_item_is_bytes(const te_item *item) {
  return item->kind == TE_ITEM_STR || item->kind == TE_ITEM_BIN;
}

bool te_item_is_open(const te_item *item) {
  return item->kind == TE_ITEM_ARRAY || item->kind == TE_ITEM_MAP;
}

size_t te_item_size_min(const te_item *item) {
  if (te_item_is_bytes(item)) return 1 + item->bytes.size;
  if (item->kind == TE_ITEM_ARRAY) return 1 + item->count;
  return item->kind == TE_ITEM_MAP ? 1 + 2 * item->count : 1;
}

// A tag and a big-endian number of `width` bytes.
static size_t put(uint8_t *at, uint8_t tag, size_t width, uint64_t v) {
  at[0] = tag;
  for (size_t i = width; i > 0; i--, v >>= 8)
    at[i] = (uint8_t)v;
  return 1 + width;
}

static size_t put_sized(uint8_t *at, const form *f, size_t size) {
  assert(size <= UINT32_MAX);
  if (size < f->fix_end) return put(at, (uint8_t)(f->fix | size), 0, 0);
  if (size <= UINT8_MAX && f->tag8 != 0) return put(at, f->tag8, 1, size);
  if (size <= UINT16_MAX) return put(at, f->tag16, 2, size);
  return put(at, f->tag32, 4, size);
}

static size_t put_int(uint8_t *at, int64_t v) {
  if (v >= -32 && v <= INT8_MAX) return put(at, (uint8_t)v, 0, 0);
  uint64_t bits = (uint64_t)v;
  if (v >= 0) {
    if (v <= UINT8_MAX) return put(at, 0xcc, 1, bits);
    if (v <= UINT16_MAX) return put(at, 0xcd, 2, bits);
    if (v <= UINT32_MAX) return put(at, 0xce, 4, bits);
    return put(at, 0xcf, 8, bits);
  }
  if (v >= INT8_MIN) return put(at, 0xd0, 1, bits);
  if (v >= INT16_MIN) return put(at, 0xd1, 2, bits);
  if (v >= INT32_MIN) return put(at, 0xd2, 4, bits);
  return put(at, 0xd3, 8, bits);
}

static size_t put_float(uint8_t *at, double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof(bits));
  return put(at, 0xcb, 8, bits);
}

static size_t put_head(uint8_t *at, const te_item *item) {
  switch (item->kind) {
    case TE_ITEM_NIL: return put(at, 0xc0, 0, 0);
    case TE_ITEM_BOOL: return put(at, item->truth ? 0xc3 : 0xc2, 0, 0);
    case TE_ITEM_INT: return put_int(at, item->integer);
    case TE_ITEM_FLOAT: return put_float(at, item->number);
    case TE_ITEM_STR: return put_sized(at, &STR_FORM, item->bytes.size);
    case TE_ITEM_BIN: return put_sized(at, &BIN_FORM, item->bytes.size);
    case TE_ITEM_ARRAY: return put_sized(at, &ARRAY_FORM, item->count);
    case TE_ITEM_MAP: return put_sized(at, &MAP_FORM, item->count);
  }
  assert(false);
  return 0;
}

void te_pack_add(te_buf *out, const te_item *item) {
  size_t payload = te_item_is_bytes(item) ? item->bytes.size : 0;
  char *at = te_buf_reserve(out, HEAD_BYTES_MAX + payload);
  size_t head = put_head((uint8_t *)at, item);
  if (payload > 0) memcpy(at + head, item->bytes.data, payload);
  te_buf_grow(out, head + payload);
}

te_reader te_reader_of(te_slice bytes) {
  // A NULL may not be added to, not even zero.
  const char *end = bytes.size == 0 ? bytes.data : bytes.data + bytes.size;
  te_reader r = {.at = bytes.data, .end = end, .owed = 1};
  return r;
}

// What the value at hand may take, the bytes owed to others set aside.
static size_t spare(const te_reader *r) {
  return (size_t)(r->end - r->at) - r->owed;
}

static int take(te_reader *r, size_t size, const char **at) {
  if (size > spare(r)) return TE_EMALFORMED;
  *at = r->at;
  r->at += size;
  return 0;
}

static int take_uint(te_reader *r, size_t width, uint64_t *v) {
  const char *at;
  int rc = take(r, width, &at);
  if (rc < 0) return rc;
  *v = 0;
  for (size_t i = 0; i < width; i++)
    *v = *v << 8 | (uint8_t)at[i];
  return 0;
}

static int next_bytes(te_reader *r, te_item_kind kind, uint64_t size,
                      te_item *item) {
  item->kind = kind;
  item->bytes.size = (size_t)size;
  return take(r, (size_t)size, &item->bytes.data);
}

static int next_open(te_reader *r, te_item_kind kind, uint64_t count,
                     te_item *item) {
  uint64_t values = kind == TE_ITEM_MAP ? 2 * count : count;
  if (values > spare(r)) return TE_EMALFORMED;
  r->owed += (size_t)values;
  item->kind = kind;
  item->count = (size_t)count;
  return 0;
}

static int next_int(int64_t v, te_item *item) {
  item->kind = TE_ITEM_INT;
  item->integer = v;
  return 0;
}

static int next_unsigned(uint64_t v, te_item *item) {
  return v > INT64_MAX ? TE_EMALFORMED : next_int((int64_t)v, item);
}

// The two's complement of `width` bytes.
static int next_signed(uint64_t v, size_t width, te_item *item) {
  assert(width > 0);
  uint64_t sign = UINT64_C(1) << (8 * width - 1);
  return next_int((int64_t)((v ^ sign) - sign), item);
}

static int next_float(uint64_t bits, size_t width, te_item *item) {
  item->kind = TE_ITEM_FLOAT;
  if (width == sizeof(double)) {
    memcpy(&item->number, &bits, sizeof(item->number));
    return 0;
  }
  uint32_t half = (uint32_t)bits;
  float v;
  memcpy(&v, &half, sizeof(v));
  item->number = (double)v;
  return 0;
}

static int next_bare(te_item_kind kind, bool truth, te_item *item) {
  item->kind = kind;
  item->truth = truth;
  return 0;
}

// The bytes of the number behind a tag of 0xc0 to 0xdf.
static const uint8_t WIDTHS[32] = {
    [0x04] = 1, [0x05] = 2, [0x06] = 4,              // bin
    [0x0a] = 4, [0x0b] = 8,                          // float
    [0x0c] = 1, [0x0d] = 2, [0x0e] = 4, [0x0f] = 8,  // unsigned
    [0x10] = 1, [0x11] = 2, [0x12] = 4, [0x13] = 8,  // signed
    [0x19] = 1, [0x1a] = 2, [0x1b] = 4,              // str
    [0x1c] = 2, [0x1d] = 4,                          // array
    [0x1e] = 2, [0x1f] = 4,                          // map
};

static int next_tagged(te_reader *r, uint8_t tag, te_item *item) {
  uint64_t v = 0;
  size_t width = WIDTHS[tag - 0xc0];
  int rc = take_uint(r, width, &v);
  if (rc < 0) return rc;
  switch (tag) {
    case 0xc0: return next_bare(TE_ITEM_NIL, false, item);
    case 0xc2: return next_bare(TE_ITEM_BOOL, false, item);
    case 0xc3: return next_bare(TE_ITEM_BOOL, true, item);
    case 0xc4:
    case 0xc5:
    case 0xc6: return next_bytes(r, TE_ITEM_BIN, v, item);
    case 0xca:
    case 0xcb: return next_float(v, width, item);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: return next_unsigned(v, item);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: return next_signed(v, width, item);
    case 0xd9:
    case 0xda:
    case 0xdb: return next_bytes(r, TE_ITEM_STR, v, item);
    case 0xdc:
    case 0xdd: return next_open(r, TE_ITEM_ARRAY, v, item);
    case 0xde:
    case 0xdf: return next_open(r, TE_ITEM_MAP, v, item);
    default: return TE_EMALFORMED;  // extension types, and 0xc1
  }
}

int te_reader_next(te_reader *r, te_item *item) {
  assert(r->owed > 0);
  if (r->at == r->end) return TE_EMALFORMED;
  r->owed--;
  uint8_t tag = (uint8_t)*r->at++;
  if (tag < 0x80) return next_int(tag, item);
  if (tag >= 0xe0) return next_int((int8_t)tag, item);
  if (tag >= 0xc0) return next_tagged(r, tag, item);
  if (tag >= 0xa0) return next_bytes(r, TE_ITEM_STR, tag & 0x1f, item);
  if (tag >= 0x90) return next_open(r, TE_ITEM_ARRAY, tag & 0x0f, item);
  return next_open(r, TE_ITEM_MAP, tag & 0x0f, item);
}

int te_reader_next_key(te_reader *r, te_item *item) {
  int rc = te_reader_next(r, item);
  if (rc < 0) return rc;
  bool is_nan = item->kind == TE_ITEM_FLOAT && isnan(item->number);
  bool fits = item->kind != TE_ITEM_NIL && !te_item_is_open(item) && !is_nan;
  return fits ? 0 : TE_EMALFORMED;
}

static int skip(te_reader *r, int depth_max) {
  te_item item;
  int rc = te_reader_next(r, &item);
  if (rc < 0 || !te_item_is_open(&item)) return rc;
  if (depth_max == 0) return TE_EDEPTH;
  for (size_t i = 0; i < item.count && rc == 0; i++) {
    te_item key;
    if (item.kind == TE_ITEM_MAP) rc = te_reader_next_key(r, &key);
    if (rc == 0) rc = skip(r, depth_max - 1);
  }
  return rc;
}

int te_reader_skip(te_reader *r, int depth_max, te_slice *raw) {
  const char *start = r->at;
  int rc = skip(r, depth_max);
  *raw = te_slice_of(start, rc < 0 ? 0 : (size_t)(r->at - start));
  return rc;
}
