/*
 * spin: waits awake, for a moment, for an answer that comes soon.
 *
 * To wake a core that sleeps takes 40 us and more, by the host's leave. An
 * answer of Redis that brings the next step of a workflow is there in 100 to
 * 200, if Redis is near; the end of a short task sooner. So whoever has nothing
 * else to do waits for it awake, where answers have come that soon lately, and
 * where another core is there to make them. As the event loop it goes on
 * hearing everything else.
 */
#ifndef TE_SPIN_H
#define TE_SPIN_H

#include <uv.h>

#include "te.h"

#define TE_SPIN_US 400  // no longer; nor where answers take longer

// Embedded in whoever asks.
typedef struct te_spin {
  uv_idle_t idle;  // its data is the owner's
  bool may;        // there is another core
  bool is_open;    // a question is
  uint64_t asked_us;
  double mean_us;  // of recent answers; 0 before the first
} te_spin;

// The handle is to be closed in the end.
void te_spin_init(te_spin *s, uv_loop_t *loop, unsigned cores);

// A question has been asked, if none is open; nothing else is to be done.
void te_spin_begin(te_spin *s);
void te_spin_end(te_spin *s);   // it is answered
void te_spin_drop(te_spin *s);  // it will not be

#endif
