/*
 * round: the two calls of a round, written but for their end.
 */
#ifndef TE_ROUND_H
#define TE_ROUND_H

#include "lease.h"
#include "ledger.h"

/*
 * te1_finish: tells what is to be told. What these ends release may come with
 * the reply, `room` of it; returns how much was asked for.
 */
size_t te_round_finish(te_lease *l, te_ledger *tasks, uint64_t now_ms,
                       size_t room);

// What te1_fetch is told of the worker.
enum te_fetch_flag { TE_FETCH_MAY_SLEEP = 1, TE_FETCH_TAKES_HAND_OVERS = 2 };

// te1_fetch, with the queues in order from the first-th on.
void te_round_fetch(te_lease *l, size_t wanted, unsigned flags, size_t first);

#endif
