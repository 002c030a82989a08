/*
 * handed: the numbers of the tasks that Redis hands over to a sleeping worker
 * (docs/protocol.md).
 *
 * Each is one more than the one before, so that the worker sees when a task
 * was lost on its way, or when Redis has lost count. Logic only. Embedded in
 * whoever has the bell.
 */
#ifndef TE_HANDED_H
#define TE_HANDED_H

#include "te.h"

typedef struct te_handed {
  uint32_t last;    // that came
  uint32_t missed;  // the one that should have come by now; 0: none
  uint32_t asked;   // `last`, when Redis was asked what is held
} te_handed;

// Under a new name: none was handed over.
void te_handed_init(te_handed *h);

typedef enum te_handed_verdict {
  TE_HANDED_NEXT,   // to be taken
  TE_HANDED_LATER,  // to be taken; but one before it is missing
  TE_HANDED_OLD,    // not to be taken: Redis is to be asked
} te_handed_verdict;

// A task with this number came.
te_handed_verdict te_handed_came(te_handed *h, uint32_t number);

// Redis says that this was the last one, or 0. False when one that it had
// handed over by the last time is still not here.
bool te_handed_heard(te_handed *h, uint32_t number);

// Redis is asked what is held.
void te_handed_ask(te_handed *h);

// It answers with this number, as text; what is none counts as 0.
void te_handed_answered(te_handed *h, te_slice text);

#endif
