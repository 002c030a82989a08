#include "clock.h"

#include <time.h>

#ifdef TE_TESTING
static te_clock_fake fake_now;
static bool is_fake;

void te_clock_set_fake(const te_clock_fake *fake) {
  is_fake = fake != NULL;
  if (is_fake) fake_now = *fake;
}
#endif

static uint64_t read_us(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);  // cannot fail for the two clocks asked for here
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t te_clock_us(void) {
#ifdef TE_TESTING
  if (is_fake) return fake_now.us;
#endif
  return read_us(CLOCK_MONOTONIC);
}

uint64_t te_clock_ms(void) {
  return te_clock_us() / 1000;
}

int64_t te_clock_wall_ms(void) {
#ifdef TE_TESTING
  if (is_fake) return fake_now.wall_ms;
#endif
  return (int64_t)(read_us(CLOCK_REALTIME) / 1000);
}
