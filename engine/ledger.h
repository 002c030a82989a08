/*
 * ledger: the tasks that a worker has in Redis' eyes, and what Redis is yet to
 * be told of them.
 *
 *   held --end--> ended --tell--> told --forget_told--> gone
 *                   ^--tell_again--'
 *
 * Logic only. Embedded in whoever has the connection. A task that has not
 * ended is somebody else's; one that has is the ledger's, and its claim is
 * freed with it.
 */
#ifndef TE_LEDGER_H
#define TE_LEDGER_H

#include "map.h"
#include "news.h"
#include "task.h"

typedef struct te_ledger {
  te_claims *claims;
  te_map held;       // every task, by field
  te_list ended;     // to be told
  te_list told;      // in the round under way
  size_t unsettled;  // in these two
  te_news news;      // of those that have not ended
} te_ledger;

void te_ledger_init(te_ledger *l, te_claims *claims);  // keeps the claims

void te_ledger_hold(te_ledger *l, te_task *t);  // keeps it, until it is gone
bool te_ledger_holds(const te_ledger *l, te_slice field);
te_task *te_ledger_find(const te_ledger *l, te_slice field);  // may be NULL
void te_ledger_end(te_ledger *l, te_task *t);  // takes one that was held

// In how many milliseconds there is something to be told; false: never.
bool te_ledger_wait(const te_ledger *l, uint64_t now_ms, uint64_t *wait_ms);
// Moves as many from `ended` to `told` as one call takes, and news if it is
// time for them. Returns how many arguments they make.
size_t te_ledger_tell(te_ledger *l, uint64_t now_ms);
void te_ledger_write(te_ledger *l, te_report_arg add, void *arg);
// Redis has what was told. Returns of how many tasks.
size_t te_ledger_forget_told(te_ledger *l);
// Nobody knows whether it has: they are told again, one by one.
void te_ledger_tell_again(te_ledger *l);
// How many have ended and are not gone; `outcomes` of them not by going back.
size_t te_ledger_untold(const te_ledger *l, size_t *outcomes);

// Both leave it empty. All are somebody else's now, those that have not ended,
// too.
void te_ledger_drop(te_ledger *l);
// What was not told stays in its claim, for an heir to tell.
void te_ledger_leave_to_heir(te_ledger *l);

#endif
