/*
 * alarm: a signal at a given time, also while the thread computes; or when
 * another process rings.
 *
 * One for each process, and for the thread that makes it. The event loop's
 * timers are for those who return to it; this one is for code that does not.
 */
#ifndef TE_ALARM_H
#define TE_ALARM_H

#include "te.h"

/*
 * Called in a signal handler of this thread when the time has come or somebody
 * has rung, and again every TE_ALARM_AGAIN_US until another time is set, and
 * the ring answered. False: nothing computes here that could hear of it.
 */
typedef bool te_alarm_ring(void);

#define TE_ALARM_AGAIN_US 5000

// Before the first te_alarm_set. 0, or why there is no timer.
int te_alarm_start(te_alarm_ring *ring);
void te_alarm_stop(void);  // the handler may be gone from now on

// By the clock of te_alarm_now_us; 0: never. Costs a system call only when it
// is earlier than what the timer is set for.
void te_alarm_set(uint64_t at_us);

bool te_alarm_is_due(void);  // the time has come, or a ring is unanswered
bool te_alarm_is_rung(void);
bool te_alarm_answer(void);  // whether it was rung
void te_alarm_ring_here(void);

// What rings in another process, which has started its alarm.
int te_alarm_signal(void);

uint64_t te_alarm_now_us(void);  // that of the event loop

#endif
