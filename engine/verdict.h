/*
 * verdict: what a child says of a task in place of an outcome: run it again.
 *
 * It lies in a claim as an outcome does, and goes to Redis as the operation `r`
 * of te1_finish without its letter. See docs/protocol.md.
 */
#ifndef TE_VERDICT_H
#define TE_VERDICT_H

#include "buf.h"
#include "claims.h"

#define TE_VERDICT_HEAD_BYTES 14
// The end of the year 9999, which Redis' numbers hold exactly.
#define TE_VERDICT_MS_MAX     UINT64_C(253402300799999)

enum te_verdict_flag {
  TE_VERDICT_SPENDS = 1,   // an attempt; without it the task is put off
  TE_VERDICT_IS_TIME = 2,  // when_ms is since 1970, not from now on
};

typedef struct te_verdict {
  uint64_t when_ms;  // before which it is not to run
  uint8_t flags;
  te_slice body;     // in place of the envelope's; empty: it stays
  te_slice outcome;  // that of the attempt, an F; may be empty
  bool is_short;     // there was no room for the outcome
} te_verdict;

// Whether it is meant to be one, well-formed or not.
bool te_verdict_is(te_slice record);

// Reads one; all borrows from it. Children are not trusted: 0, or
// TE_EMALFORMED.
int te_verdict_read(te_slice record, te_verdict *out);

void te_verdict_add(te_buf *out, const te_verdict *v);

// That of a task whose will (claims.h) says so, and which came to this outcome.
// False, with nothing appended, when the will is none that could be meant.
bool te_verdict_execute(te_buf *out, te_slice will, te_slice outcome);

// Leaves a task's record in its claim: of a verdict that is too long for that,
// what is without its outcome. Whether all of it is there.
bool te_verdict_leave(te_claims *c, te_token token, te_slice record);

#endif
