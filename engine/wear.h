/*
 * wear: when a child has done enough and another is to take its place.
 *
 * After a number of tasks, or once its resident memory is above a limit. That
 * is read from /proc, by the master, after a task and a few times a second at
 * most: a child that computes need not be asked. It is the resident set and
 * not the proportional one (PSS), for which the kernel walks all page tables:
 * what children share of it, the program's own code, is a few megabytes.
 *
 * The other one is started before the last tasks, so that it is ready when it
 * is needed; then the child leaves. While none can come it goes on beyond its
 * limits: new ones cannot load their files, or too many old ones are left that
 * end what they began.
 */
#ifndef TE_WEAR_H
#define TE_WEAR_H

#include "crew.h"
#include "hand.h"

#define TE_WEAR_PAUSE_MS 100  // between two looks at a child's memory

typedef struct te_wear_limits {
  uint64_t tasks_max;         // 0: no limit
  uint64_t memory_bytes_max;  // 0: no limit
} te_wear_limits;

typedef struct te_wear te_wear;

// Keeps both; the hands by the index of the child. Caller frees.
te_wear *te_wear_new(te_crew *crew, const te_hand *hands, unsigned slots);
void te_wear_free(te_wear *w);

void te_wear_set_limits(te_wear *w, const te_wear_limits *limits);
void te_wear_start(te_wear *w, unsigned child);     // a new one is ready
void te_wear_note_end(te_wear *w, unsigned child);  // of a task

// How many of `room` more tasks it may be given.
size_t te_wear_room(const te_wear *w, unsigned child, size_t room);

/*
 * Prepares for another one, or lets the child leave (te_crew_leave), if it is
 * time. mean_us is the tasks' run time, 0: not known. True: to be called again
 * in TE_WEAR_PAUSE_MS.
 */
bool te_wear_check(te_wear *w, unsigned child, double mean_us, uint64_t now_ms);

#endif
