/*
 * turnover: lets children leave that have done enough (wear.h), in time.
 *
 * Memory is read from /proc, by the master, after a task and a few times a
 * second at most: a child that computes need not be asked. It is the resident
 * set and not the proportional one (PSS), for which the kernel walks all page
 * tables: what children share of it, the program's own code, is a few
 * megabytes.
 *
 * The other one is started before the last tasks, so that it is ready when it
 * is needed; then the child leaves. While none can come it goes on beyond its
 * limits: new ones cannot load their files, or too many old ones are left that
 * end what they began.
 */
#ifndef TE_TURNOVER_H
#define TE_TURNOVER_H

#include "crew.h"
#include "hand.h"
#include "wear.h"

typedef struct te_turnover te_turnover;

// Keeps both; the hands by the index of the child. Caller frees.
te_turnover *te_turnover_new(te_crew *crew, const te_hand *hands,
                             unsigned slots);
void te_turnover_free(te_turnover *t);

void te_turnover_set_limits(te_turnover *t, const te_wear_limits *limits);
void te_turnover_start(te_turnover *t, unsigned child);  // a new one is ready
void te_turnover_note_end(te_turnover *t, unsigned child);  // of a task

// How many of `room` more tasks it may be given.
size_t te_turnover_room(const te_turnover *t, unsigned child, size_t room);

/*
 * Prepares for another one, or lets the child leave (te_crew_leave), if it is
 * time. mean_us is the tasks' run time, 0: not known. True: to be called again
 * in TE_WEAR_PAUSE_MS.
 */
bool te_turnover_check(te_turnover *t, unsigned child, double mean_us,
                       uint64_t now_ms);

#endif
