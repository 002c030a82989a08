#include "pace.h"

#define BACKOFF_MS_FIRST 50
#define BACKOFF_MS_MAX   5000
#define BACKOFF_MS_MIN   5  // no spinning on the unluckiest draws

#define PING_MS_MAX 5000
#define PONG_MS_MAX 10000

static uint64_t min(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static uint64_t max(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

// The longest pause before an attempt that is not the first.
static uint64_t longest_ms(unsigned failures) {
  unsigned doublings = failures - 1;
  // Seven are past the limit.
  if (doublings >= 7) return BACKOFF_MS_MAX;
  return min(BACKOFF_MS_MAX, (uint64_t)BACKOFF_MS_FIRST << doublings);
}

static uint64_t draw(uint64_t most_ms, uint32_t chance) {
  return max(most_ms * chance / UINT32_MAX, BACKOFF_MS_MIN);
}

uint64_t te_pace_backoff_ms(unsigned failures, uint32_t chance) {
  return failures == 0 ? 0 : draw(longest_ms(failures), chance);
}

uint64_t te_pace_reconnect_ms(unsigned failures, uint64_t away_ms,
                              uint64_t pause_ms_max, uint32_t chance) {
  if (failures == 0) return 0;
  uint64_t most = max(away_ms / 2, BACKOFF_MS_FIRST);
  if (pause_ms_max > 0) most = min(most, pause_ms_max);
  return draw(min(most, longest_ms(failures)), chance);
}

uint64_t te_pace_ping_ms(uint64_t timeout_ms) {
  return min(timeout_ms, PING_MS_MAX);
}

uint64_t te_pace_pong_ms(uint64_t timeout_ms) {
  return min(timeout_ms, PONG_MS_MAX);
}
