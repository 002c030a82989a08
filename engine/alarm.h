/*
 * alarm: a signal at a given time, also while the thread computes.
 *
 * One for each process, and for the thread that makes it. The event loop's
 * timers are for those who return to it; this one is for code that does not.
 */
#ifndef TE_ALARM_H
#define TE_ALARM_H

#include "te.h"

/*
 * Called in a signal handler of this thread when the time has come, and again
 * every TE_ALARM_AGAIN_US until another time is set.
 */
typedef void te_alarm_ring(void);

#define TE_ALARM_AGAIN_US 5000

// Before the first te_alarm_set. 0, or why there is no timer.
int te_alarm_start(te_alarm_ring *ring);
void te_alarm_stop(void);  // the handler may be gone from now on

// By the clock of te_alarm_now_us; 0: never. Costs a system call only when it
// is earlier than what the timer is set for.
void te_alarm_set(uint64_t at_us);

uint64_t te_alarm_now_us(void);  // that of the event loop

#endif
