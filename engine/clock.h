/*
 * clock: what time it is.
 *
 * Everything in the engine that asks for the time asks here, so that specs
 * can stand in for it. ms and us count from an arbitrary point, never step
 * back and measure durations; wall_ms counts from 1970 (UTC) and is for
 * people: leases and due times go by the clock of Redis.
 */
#ifndef TE_CLOCK_H
#define TE_CLOCK_H

#include "te.h"

uint64_t te_clock_ms(void);
uint64_t te_clock_us(void);
int64_t te_clock_wall_ms(void);

#ifdef TE_TESTING
// From now on the clocks stand at these values; NULL goes back to the real.
typedef struct te_clock_fake {
  uint64_t us;
  int64_t wall_ms;
} te_clock_fake;

void te_clock_set_fake(const te_clock_fake *fake);  // copied
#endif

#endif
