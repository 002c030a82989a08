/*
 * record: outcomes as bytes, those that the engine itself writes or shows. See
 * docs/protocol.md.
 */
#ifndef TE_RECORD_H
#define TE_RECORD_H

#include "buf.h"

// Appends a failure: F and { kind = kind, message = message }.
void te_record_failure(te_buf *out, const char *kind, const char *message);

// A revocation: R and { kind = "Revoked", message = message }.
void te_record_revocation(te_buf *out, const char *message);

// Whether it may be one: what children tell, or left, is not to be trusted.
bool te_record_is_outcome(te_slice record);

// Whether it is that of a task that returned: S, or J with its value as JSON.
bool te_record_is_success(te_slice record);

/*
 * Whether it says that a flow ends the task in its place: D and the flow's
 * producer. A child tells that instead of an outcome.
 */
bool te_record_is_delegation(te_slice record);

/*
 * What a failure (F or R) says of itself: its `kind` or its `message`. Empty
 * when it has none, or is no failure. Borrows from the record.
 */
te_slice te_record_text(te_slice record, const char *key);

// The text behind `key` in a map in MessagePack; empty when there is none.
te_slice te_record_field(te_slice map, const char *key);

#endif
