/*
 * pace: how often a connection is tried, checked and given up.
 *
 * Pure: chance comes in as an argument. All times are milliseconds.
 */
#ifndef TE_PACE_H
#define TE_PACE_H

#include "te.h"

/*
 * The pause before an attempt to connect; `failures` attempts in a row have
 * failed. The first is made at once; then the pause is anything from 5 up to
 * 50, doubling to 5,000 (full jitter), so that those who lost the same server
 * together do not come back together. `chance` is any 32 random bits.
 */
uint64_t te_pace_backoff_ms(unsigned failures, uint32_t chance);

/*
 * The same for a server that has been away for so long: at most half of that,
 * so that what was away for a second is not missed for three; and at most
 * `pause_ms_max`, so that whoever has a lease there does not lose it over a
 * pause. 0: as above.
 */
uint64_t te_pace_reconnect_ms(unsigned failures, uint64_t away_ms,
                              uint64_t pause_ms_max, uint32_t chance);

// A connection on which nothing came for so long is asked whether it lives.
uint64_t te_pace_ping_ms(uint64_t timeout_ms);

/*
 * How long that answer may take. With te_pace_ping_ms never over 15,000, so
 * that a half-open connection is found by then whatever the timeout is.
 */
uint64_t te_pace_pong_ms(uint64_t timeout_ms);

#endif
