/*
 * held: the tasks that no child has been offered, in the order of submission.
 *
 * Logic only. Embedded in whoever has the children.
 */
#ifndef TE_HELD_H
#define TE_HELD_H

#include "list.h"
#include "task.h"

typedef struct te_held {
  te_list tasks;
  size_t count;
  size_t bytes;       // of their envelopes
  uint64_t since_ms;  // without a pause; 0: nothing is held, or not noted
} te_held;

void te_held_init(te_held *h);
void te_held_add(te_held *h, te_task *t);  // takes it; it is the newest

/*
 * Takes one that comes back, to its place. `near`: the one that came back
 * before, or NULL: such come by their order, the last first, or nearly so.
 */
void te_held_add_back(te_held *h, te_task *t, te_task *near);

te_task *te_held_first(const te_held *h);  // NULL when there is none
void te_held_remove(te_held *h, te_task *t);
// The first of the last `max` tasks; NULL when there is none.
te_task *te_held_near_end(const te_held *h, size_t max);
te_task *te_held_next(const te_held *h, const te_task *t);  // NULL at the end

#endif
