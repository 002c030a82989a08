#include "handed.h"

#include <stdlib.h>
#include <string.h>

#define FIRST 0x80000000u  // none was handed over

// Whether one number comes after another; they wrap around.
static bool is_after(uint32_t number, uint32_t other) {
  return (int32_t)(number - other) > 0;
}

void te_handed_init(te_handed *h) {
  h->last = FIRST;
  h->missed = 0;
  h->asked = FIRST;
}

// One of a number that is not new was on its way while Redis was asked what
// is held: it was handed back then. Or Redis has lost count.
te_handed_verdict te_handed_came(te_handed *h, uint32_t number) {
  uint32_t last = h->last;
  if (!is_after(number, last)) return TE_HANDED_OLD;
  h->last = number;
  return number == last + 1 ? TE_HANDED_NEXT : TE_HANDED_LATER;
}

bool te_handed_heard(te_handed *h, uint32_t number) {
  bool is_lost = h->missed != 0 && is_after(h->missed, h->last);
  h->missed = number != 0 && is_after(number, h->last) ? number : 0;
  return !is_lost;
}

void te_handed_ask(te_handed *h) {
  h->asked = h->last;
}

// A number from before Redis was asked: it has lost count (it came back with
// what it had before, or the key is gone) and goes on from there.
void te_handed_answered(te_handed *h, te_slice text) {
  char digits[16] = "";
  if (text.size > 0 && text.size < sizeof(digits))
    memcpy(digits, text.data, text.size);
  uint32_t number = (uint32_t)strtoul(digits, NULL, 10);
  if (number == 0) number = FIRST;
  if (is_after(number, h->last) || is_after(h->asked, number)) h->last = number;
  h->missed = 0;
}
