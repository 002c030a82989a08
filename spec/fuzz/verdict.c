/*
 * What a child says of a task that is to run again, and what stands in the
 * claim of one that died.
 */
#include "verdict.h"

#include "record.h"
#include "support/fuzz.h"

// One that was read is written as the same bytes.
static void check_same(te_slice bytes, const te_verdict *v) {
  te_buf out = {0};
  te_verdict_add(&out, v);
  assert(te_slice_equal(te_buf_slice(&out), bytes));
  te_buf_free(&out);
}

static void check_will(te_slice bytes) {
  te_buf failure = {0};
  te_buf out = {0};
  te_verdict v;
  te_record_failure(&failure, "TimeLimitExceeded", "ran too long");
  if (te_verdict_execute(&out, bytes, te_buf_slice(&failure))) {
    int rc = te_verdict_read(te_buf_slice(&out), &v);
    assert(rc == 0 && v.body.size == 0 && !v.is_short);
    assert(te_slice_equal(v.outcome, te_buf_slice(&failure)));
  } else {
    assert(te_buf_size(&out) == 0);
  }
  te_buf_free(&failure);
  te_buf_free(&out);
}

void fuzz_one(te_slice bytes) {
  te_verdict v;
  if (te_verdict_read(bytes, &v) == 0) {
    assert(te_verdict_is(bytes) && !te_record_is_outcome(bytes));
    assert(v.body.size + v.outcome.size + TE_VERDICT_HEAD_BYTES == bytes.size);
    check_same(bytes, &v);
    te_record_text(v.outcome, "kind");
  }
  check_will(bytes);
}
