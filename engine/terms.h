/*
 * terms: on which a worker works, as its owner said last.
 *
 * They may change while it runs, with a reload.
 */
#ifndef TE_TERMS_H
#define TE_TERMS_H

#include "wear.h"

typedef struct te_time_limit {
  te_slice task;  // its name
  uint32_t ms;
} te_time_limit;

typedef struct te_terms {
  uint64_t grace_ms;       // for the tasks that run when it stops
  uint32_t time_limit_ms;  // of tasks without one; 0: none
  te_wear_limits limits;   // of the children
  te_slice description;    // for `inspect`: MessagePack
  const te_slice *queues;
  size_t queue_count;
  const te_time_limit *time_limits;  // tasks' own; each name once
  size_t time_limit_count;
} te_terms;

// A copy of these and of all that they point to; caller frees.
te_terms *te_terms_new(const te_terms *terms);
void te_terms_free(te_terms *t);  // NULL is fine

// Of a copy: the limit in ms of a task that was sent without one; 0: none.
uint32_t te_terms_time_limit(const te_terms *t, te_slice task);

#endif
