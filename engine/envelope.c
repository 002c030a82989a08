#include "envelope.h"

#include <assert.h>
#include <string.h>

// Offsets in the header.
enum {
  AT_VERSION = 20,
  AT_FLAGS = 21,
  AT_ATTEMPT = 22,
  AT_DEATHS = 23,
  AT_REAPS = 24,
  AT_PRIORITY = 25,
  AT_DELIVERY = 26,
  AT_EXPIRY = 30,
  AT_SENT = 38,
  AT_TIME_LIMIT = 46,
  AT_SOFT_TIME_LIMIT = 50,
  AT_RESULT_TTL = 54,
  AT_FLOW = 58,
  AT_NODE = 78,
  AT_UNIQUE = 82,
  AT_LENGTHS = 98,
  AT_NAMES = 102,
};

static uint64_t read_u64(const char *at) {
  return (uint64_t)te_read_u32(at) << 32 | te_read_u32(at + 4);
}

static void write_u64(char *at, uint64_t v) {
  for (int i = 7; i >= 0; i--, v >>= 8)
    at[i] = (char)(v & 0xff);
}

// The next name, `size` long; moves *at behind it.
static te_slice take_name(const char **at, char size) {
  te_slice name = te_slice_of(*at, (unsigned char)size);
  *at += name.size;
  return name;
}

// Empty when there are only zeros.
static te_slice read_optional(const char *at, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (at[i] != 0) return te_slice_of(at, size);
  return te_slice_of(at, 0);
}

static size_t names_size(const char *lengths) {
  const unsigned char *l = (const unsigned char *)lengths;
  return (size_t)l[0] + l[1] + l[2] + l[3];
}

int te_envelope_read(te_slice bytes, te_envelope *out) {
  const char *h = bytes.data;
  if (bytes.size <= TE_ENVELOPE_BYTES_MIN) return TE_EMALFORMED;
  if (bytes.size <= AT_NAMES + names_size(h + AT_LENGTHS)) return TE_EMALFORMED;
  if (h[AT_LENGTHS] == 0 || h[AT_LENGTHS + 1] == 0) return TE_EMALFORMED;

  out->id = te_slice_of(h, TE_ID_BYTES);
  out->version = (uint8_t)h[AT_VERSION];
  out->flags = (uint8_t)h[AT_FLAGS];
  out->attempt = (uint8_t)h[AT_ATTEMPT];
  out->deaths = (uint8_t)h[AT_DEATHS];
  out->reaps = (uint8_t)h[AT_REAPS];
  out->priority = (uint8_t)h[AT_PRIORITY];
  out->delivery = te_read_u32(h + AT_DELIVERY);
  out->expiry_ms = read_u64(h + AT_EXPIRY);
  out->sent_ms = read_u64(h + AT_SENT);
  out->time_limit_ms = te_read_u32(h + AT_TIME_LIMIT);
  out->soft_time_limit_ms = te_read_u32(h + AT_SOFT_TIME_LIMIT);
  out->result_ttl_s = te_read_u32(h + AT_RESULT_TTL);
  out->flow = read_optional(h + AT_FLOW, TE_ID_BYTES);
  out->node = te_read_u32(h + AT_NODE);
  out->unique = read_optional(h + AT_UNIQUE, TE_UNIQUE_BYTES);

  const char *at = h + AT_NAMES;
  out->queue = take_name(&at, h[AT_LENGTHS]);
  out->name = take_name(&at, h[AT_LENGTHS + 1]);
  out->limit_key = take_name(&at, h[AT_LENGTHS + 2]);
  out->alias = take_name(&at, h[AT_LENGTHS + 3]);
  out->body = te_slice_of(at, (size_t)(h + bytes.size - at));
  return 0;
}

void te_envelope_add_template(te_buf *out, const te_envelope *e) {
  static const char zeros[AT_NODE - AT_FLOW] = {0};
  assert(e->flow.size == 0 || e->flow.size == TE_ID_BYTES);
  assert(e->unique.size == 0 || e->unique.size == TE_UNIQUE_BYTES);
  assert(e->queue.size <= TE_NAME_BYTES_MAX);
  assert(e->name.size <= TE_NAME_BYTES_MAX);
  assert(e->limit_key.size <= TE_NAME_BYTES_MAX);
  assert(e->alias.size <= TE_NAME_BYTES_MAX);

  te_buf_add_u8(out, TE_ENVELOPE_VERSION);
  te_buf_add_u8(out, e->flags);
  te_buf_add_u8(out, e->attempt);
  te_buf_add_u8(out, e->deaths);
  te_buf_add_u8(out, e->reaps);
  te_buf_add_u8(out, e->priority);
  te_buf_add_u32(out, e->delivery);
  te_buf_add_u64(out, e->expiry_ms);
  te_buf_add_u64(out, e->sent_ms);
  te_buf_add_u32(out, e->time_limit_ms);
  te_buf_add_u32(out, e->soft_time_limit_ms);
  te_buf_add_u32(out, e->result_ttl_s);
  te_buf_add_slice(out, e->flow);
  te_buf_add(out, zeros, AT_NODE - AT_FLOW - e->flow.size);
  te_buf_add_u32(out, e->node);
  te_buf_add_slice(out, e->unique);
  te_buf_add(out, zeros, AT_LENGTHS - AT_UNIQUE - e->unique.size);
  te_buf_add_u8(out, (uint8_t)e->queue.size);
  te_buf_add_u8(out, (uint8_t)e->name.size);
  te_buf_add_u8(out, (uint8_t)e->limit_key.size);
  te_buf_add_u8(out, (uint8_t)e->alias.size);
  te_buf_add_slice(out, e->queue);
  te_buf_add_slice(out, e->name);
  te_buf_add_slice(out, e->limit_key);
  te_buf_add_slice(out, e->alias);
}

bool te_envelope_is_template(te_slice bytes) {
  // Offsets count from the id, which a template lacks.
  return bytes.size >= AT_NAMES - TE_ID_BYTES &&
         bytes.data[0] == TE_ENVELOPE_VERSION &&
         bytes.size == AT_NAMES - TE_ID_BYTES +
                           names_size(bytes.data + AT_LENGTHS - TE_ID_BYTES);
}

uint8_t te_envelope_template_flags(te_slice template_) {
  assert(template_.size >= AT_NAMES - TE_ID_BYTES);
  return (uint8_t)template_.data[AT_FLAGS - TE_ID_BYTES];
}

void te_envelope_add_head(te_buf *out, te_slice id, te_slice template_,
                          uint64_t sent_ms) {
  assert(id.size == TE_ID_BYTES && te_envelope_is_template(template_));
  size_t size = TE_ID_BYTES + template_.size;
  char *at = te_buf_reserve(out, size);
  memcpy(at, id.data, TE_ID_BYTES);
  memcpy(at + TE_ID_BYTES, template_.data, template_.size);
  write_u64(at + AT_SENT, sent_ms);
  te_buf_grow(out, size);
}

static bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '_' || c == '.' || c == ':' || c == '-';
}

bool te_name_is_valid(te_slice name) {
  if (name.size == 0 || name.size > TE_NAME_BYTES_MAX) return false;
  for (size_t i = 0; i < name.size; i++)
    if (!is_name_char(name.data[i])) return false;
  return true;
}
