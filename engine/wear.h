/*
 * wear: whether a child has done enough, so that another takes its place.
 *
 * After a number of tasks, or once its resident memory is above a limit.
 * Logic only: what memory it takes, and when, is told.
 */
#ifndef TE_WEAR_H
#define TE_WEAR_H

#include "te.h"

#define TE_WEAR_PAUSE_MS 100  // between two looks at a child's memory

typedef struct te_wear_limits {
  uint64_t tasks_max;         // 0: no limit
  uint64_t memory_bytes_max;  // 0: no limit
} te_wear_limits;

// Of one child; zeroed when it starts.
typedef struct te_wear {
  uint64_t ended;      // tasks
  uint64_t looked_ms;  // at its memory
  bool is_unlooked;    // a task has ended since
  uint64_t too_many;   // bytes, when it has come to more than the limit
} te_wear;

void te_wear_note_end(te_wear *w);  // of a task

// Whether its memory is to be looked at, now or in TE_WEAR_PAUSE_MS.
bool te_wear_is_to_look(const te_wear *w, const te_wear_limits *l);
bool te_wear_is_to_look_now(const te_wear *w, const te_wear_limits *l,
                            uint64_t now_ms);
void te_wear_note_memory(te_wear *w, const te_wear_limits *l, uint64_t bytes,
                         uint64_t now_ms);

// How many more tasks it may be given, that has so many; UINT64_MAX: any.
uint64_t te_wear_left(const te_wear *w, const te_wear_limits *l,
                      size_t in_hand);
// Whether it has done enough. While all of its slots are busy, another would
// not help: unless it takes too much memory.
bool te_wear_is_over(const te_wear *w, const te_wear_limits *l, size_t in_hand,
                     size_t open_slots);
/*
 * Whether it will have within the time that another takes to start; twice
 * that, as several may start. task_us: what a task takes of it, 0: not known.
 */
bool te_wear_is_soon(const te_wear *w, const te_wear_limits *l, double task_us,
                     uint64_t start_ms);

#endif
