/*
 * record: outcomes that the engine itself writes, see docs/protocol.md.
 */
#ifndef TE_RECORD_H
#define TE_RECORD_H

#include "buf.h"

// Appends a failure: F and { kind = kind, message = message }.
void te_record_failure(te_buf *out, const char *kind, const char *message);

#endif
