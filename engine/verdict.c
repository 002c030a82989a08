#include "verdict.h"

#include "record.h"

#define LETTER       'T'
#define LETTER_SHORT 't'
#define FLAGS        (TE_VERDICT_SPENDS | TE_VERDICT_IS_TIME)

// Offsets.
enum { AT_WHEN = 1, AT_FLAGS = 9, AT_BODY_SIZE = 10 };

bool te_verdict_is(te_slice record) {
  return record.size > 0 &&
         (record.data[0] == LETTER || record.data[0] == LETTER_SHORT);
}

// What an attempt that is repeated came to: nothing, or a failure.
static bool is_outcome(te_slice outcome) {
  return outcome.size == 0 ||
         (outcome.data[0] == 'F' && te_record_is_outcome(outcome));
}

int te_verdict_read(te_slice record, te_verdict *out) {
  if (!te_verdict_is(record) || record.size < TE_VERDICT_HEAD_BYTES)
    return TE_EMALFORMED;
  const char *at = record.data;
  out->is_short = at[0] == LETTER_SHORT;
  out->when_ms =
      (uint64_t)te_read_u32(at + AT_WHEN) << 32 | te_read_u32(at + AT_WHEN + 4);
  out->flags = (uint8_t)at[AT_FLAGS];
  size_t size = te_read_u32(at + AT_BODY_SIZE);
  te_slice rest = te_slice_of(at + TE_VERDICT_HEAD_BYTES,
                              record.size - TE_VERDICT_HEAD_BYTES);
  if (out->when_ms > TE_VERDICT_MS_MAX) return TE_EMALFORMED;
  if ((out->flags & ~FLAGS) != 0 || size > rest.size) return TE_EMALFORMED;
  out->body = te_slice_of(rest.data, size);
  out->outcome = te_slice_of(rest.data + size, rest.size - size);
  return is_outcome(out->outcome) ? 0 : TE_EMALFORMED;
}

void te_verdict_add(te_buf *out, const te_verdict *v) {
  te_buf_add_u8(out, v->is_short ? LETTER_SHORT : LETTER);
  te_buf_add_u64(out, v->when_ms);
  te_buf_add_u8(out, v->flags);
  te_buf_add_u32(out, (uint32_t)v->body.size);
  te_buf_add_slice(out, v->body);
  te_buf_add_slice(out, v->outcome);
}

bool te_verdict_execute(te_buf *out, te_slice will, te_slice outcome) {
  te_verdict v;
  if (will.size != TE_VERDICT_HEAD_BYTES) return false;
  if (te_verdict_read(will, &v) < 0) return false;
  v.outcome = outcome;
  v.is_short = false;
  te_verdict_add(out, &v);
  return true;
}

bool te_verdict_leave(te_claims *c, te_token token, te_slice record) {
  te_verdict v;
  if (te_claims_end(c, token, record)) return true;
  if (te_verdict_read(record, &v) < 0) return false;
  if (TE_VERDICT_HEAD_BYTES + v.body.size > TE_CLAIM_RECORD_BYTES_MAX)
    return false;
  te_buf out;
  te_buf_init(&out);
  v.outcome = te_slice_of("", 0);
  v.is_short = true;
  te_verdict_add(&out, &v);
  te_claims_end(c, token, te_buf_slice(&out));
  te_buf_free(&out);
  return false;
}
