#include "pace.h"

#define BACKOFF_MS_FIRST 50
#define BACKOFF_MS_MAX   5000
#define BACKOFF_MS_MIN   5  // no spinning on the unluckiest draws

#define PING_MS_MAX 5000
#define PONG_MS_MAX 10000

static uint64_t min(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

uint64_t te_pace_backoff_ms(unsigned failures, uint32_t chance) {
  if (failures == 0) return 0;
  unsigned doublings = failures - 1;
  uint64_t most = BACKOFF_MS_MAX;
  // Seven doublings are past the limit.
  if (doublings < 7) most = min(most, (uint64_t)BACKOFF_MS_FIRST << doublings);
  uint64_t pause = most * chance / UINT32_MAX;
  return pause < BACKOFF_MS_MIN ? BACKOFF_MS_MIN : pause;
}

uint64_t te_pace_reconnect_ms(unsigned failures, uint64_t away_ms,
                              uint32_t chance) {
  uint64_t most = away_ms / 2;
  if (most < BACKOFF_MS_FIRST) most = BACKOFF_MS_FIRST;
  return min(te_pace_backoff_ms(failures, chance), most);
}

uint64_t te_pace_ping_ms(uint64_t timeout_ms) {
  return min(timeout_ms, PING_MS_MAX);
}

uint64_t te_pace_pong_ms(uint64_t timeout_ms) {
  return min(timeout_ms, PONG_MS_MAX);
}
