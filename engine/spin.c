#include "spin.h"

#include "clock.h"
#include "list.h"

#define WEIGHT 8  // of the past in the mean

void te_spin_init(te_spin *s, uv_loop_t *loop, unsigned cores) {
  *s = (te_spin){.may = cores > 1};
  uv_idle_init(loop, &s->idle);
}

// While such a handle is active the loop does not sleep.
static void on_idle(uv_idle_t *idle) {
  te_spin *s = te_container_of(idle, te_spin, idle);
  if (te_clock_us() - s->asked_us >= TE_SPIN_US) uv_idle_stop(idle);
}

void te_spin_begin(te_spin *s) {
  if (s->is_open) return;
  s->is_open = true;
  s->asked_us = te_clock_us();
  if (s->may && s->mean_us < TE_SPIN_US) uv_idle_start(&s->idle, on_idle);
}

void te_spin_drop(te_spin *s) {
  s->is_open = false;
  uv_idle_stop(&s->idle);
}

// One that took very long counts for no more than two that are too long.
void te_spin_end(te_spin *s) {
  if (!s->is_open) return;
  double us = (double)(te_clock_us() - s->asked_us);
  if (us > 2 * TE_SPIN_US) us = 2 * TE_SPIN_US;
  s->mean_us = s->mean_us > 0 ? s->mean_us + (us - s->mean_us) / WEIGHT : us;
  te_spin_drop(s);
}
