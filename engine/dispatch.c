#include "dispatch.h"

#define WAITING_MAX 1000  // tasks of a child that wait for others
#define WEIGHT      8     // of the past in the mean run time
#define LONG        16    // times the mean is long
// What tasks that stay together take: to wake another child, and to tell Redis
// of its ends by themselves, takes as long.
#define TOGETHER_US 200
// Of envelopes, but for those of tasks that wait; a child that has nothing
// else gets a task all the same.
#define BYTES_MAX   ((size_t)256 * 1024 * 1024)

static size_t min_size(size_t a, size_t b) {
  return a < b ? a : b;
}

static size_t open_slots(const te_dispatch *d, unsigned child) {
  return te_hand_open_slots(&d->hands[child], d->o.concurrency);
}

// At least half of the claims is for tasks that others wait for.
static size_t waiting_max(unsigned processes) {
  return min_size(TE_CLAIMS_MAX / 2 / processes, WAITING_MAX);
}

void te_dispatch_init(te_dispatch *d, const te_dispatch_options *options) {
  *d = (te_dispatch){.o = *options};
  d->hands = te_alloc_zero(options->seats, sizeof(*d->hands));
  d->index = te_alloc_zero(1, sizeof(*d->index));
  for (unsigned i = 0; i < options->seats; i++)
    te_hand_init(&d->hands[i], i, waiting_max(options->processes), d->index);
  te_held_init(&d->held);
}

void te_dispatch_free(te_dispatch *d) {
  te_free(d->hands);
  te_free(d->index);
}

/*
 * How many of all slots are free; SIZE_MAX when there are no more children
 * than usual, and each has its own. Claims are kept free for tasks that others
 * wait for.
 */
static size_t free_slots(const te_dispatch *d) {
  if (!d->o.is_crowded(d->o.arg)) return SIZE_MAX;
  size_t all = (size_t)d->o.processes * d->o.concurrency;
  size_t taken = 0;
  size_t waiting = 0;
  for (unsigned i = 0; i < d->o.seats; i++) {
    taken += d->o.concurrency - open_slots(d, i);
    waiting += d->hands[i].waiting;
  }
  if (waiting > TE_CLAIMS_MAX / 2) taken += waiting - TE_CLAIMS_MAX / 2;
  return all > taken ? all - taken : 0;
}

static size_t child_room(const te_dispatch *d, unsigned child, size_t slots) {
  if (!d->o.is_ready(d->o.arg, child)) return 0;
  size_t room = te_hand_room(&d->hands[child], d->o.concurrency, d->mean_us);
  if (open_slots(d, child) > slots) room = min_size(room, slots);
  return d->o.limit(d->o.arg, child, room);
}

size_t te_dispatch_room(const te_dispatch *d) {
  size_t room = 0;
  size_t idle = 0;
  size_t bytes = d->held.bytes;
  size_t slots = free_slots(d);
  for (unsigned i = 0; i < d->o.seats; i++) {
    size_t more = child_room(d, i, slots);
    room += more;
    bytes += d->hands[i].bytes;
    if (slots != SIZE_MAX) slots -= min_size(more, open_slots(d, i));
    if (more > 0 && te_hand_occupied(&d->hands[i]) == 0) idle++;
  }
  if (bytes >= BYTES_MAX && room > idle) room = idle;
  room = min_size(room, te_claims_free_count(d->o.claims));
  return room > d->held.count ? room - d->held.count : 0;
}

// FNV-1a.
static unsigned kind_of(te_slice name) {
  uint32_t hash = 2166136261;
  for (size_t i = 0; i < name.size; i++)
    hash = (hash ^ (unsigned char)name.data[i]) * 16777619;
  return (hash ^ hash >> 16) % TE_DISPATCH_KINDS;
}

void te_dispatch_add(te_dispatch *d, te_task *t) {
  t->kind = kind_of(t->envelope.name);
  t->order = d->submitted++;
  te_held_add(&d->held, t);
}

// By its kind; of one that is not known, more than stays together.
static uint32_t expect_us(const te_dispatch *d, const te_task *t) {
  double us = d->kind_us[t->kind];
  return us > 0 && us < TOGETHER_US ? (uint32_t)us + 1 : TOGETHER_US + 1;
}

/*
 * Whether one more short task is to follow those that a child has got, or of
 * which it has ended one, in this very millisecond.
 */
static bool goes_along(const te_dispatch *d, unsigned child, const te_task *t,
                       uint64_t now_ms) {
  const te_hand *h = &d->hands[child];
  return te_hand_occupied(h) > 0 && h->moved_ms == now_ms &&
         h->expected_us + t->expected_us <= TOGETHER_US;
}

// False when none has room.
static bool choose_child(const te_dispatch *d, const te_task *t,
                         uint64_t now_ms, unsigned *best) {
  bool is_there = false;
  size_t slots = free_slots(d);
  for (unsigned i = 0; i < d->o.seats; i++) {
    if (child_room(d, i, slots) == 0) continue;
    if (goes_along(d, i, t, now_ms)) {
      *best = i;
      return true;
    }
    if (!is_there || te_hand_is_freer(&d->hands[i], &d->hands[*best]))
      *best = i;
    is_there = true;
  }
  return is_there;
}

te_task *te_dispatch_offer(te_dispatch *d, uint64_t now_ms) {
  unsigned child = 0;
  te_task *t = te_held_first(&d->held);
  if (t == NULL || te_claims_free_count(d->o.claims) == 0) return NULL;
  t->expected_us = expect_us(d, t);
  if (!choose_child(d, t, now_ms, &child)) return NULL;
  te_held_remove(&d->held, t);
  te_hand_offer(&d->hands[child], d->o.claims, t, now_ms);
  return t;
}

void te_dispatch_withdraw(te_dispatch *d, unsigned child) {
  te_task *t;
  te_task *before = NULL;
  while ((t = te_hand_withdraw(&d->hands[child], d->o.claims)) != NULL) {
    te_held_add_back(&d->held, t, before);
    before = t;
  }
}

bool te_dispatch_is_brief(const te_dispatch *d) {
  bool is_one_busy = false;
  for (unsigned i = 0; i < d->o.seats; i++) {
    const te_hand *h = &d->hands[i];
    if (te_hand_occupied(h) == 0) continue;
    if (is_one_busy || h->expected_us > TOGETHER_US) return false;
    is_one_busy = true;
  }
  return is_one_busy;
}

bool te_dispatch_is_uneven(const te_dispatch *d, unsigned child,
                           uint32_t run_us) {
  if (run_us <= TOGETHER_US || te_hand_occupied(&d->hands[child]) < 2)
    return false;
  size_t slots = free_slots(d);
  for (unsigned i = 0; i < d->o.seats; i++) {
    bool is_idle = te_hand_occupied(&d->hands[i]) == 0;
    if (is_idle && child_room(d, i, slots) > 0) return true;
  }
  return false;
}

bool te_dispatch_may_stall(const te_dispatch *d, unsigned child) {
  const te_hand *h = &d->hands[child];
  return te_hand_occupied(h) > d->o.concurrency ||
         (h->count > 1 && te_claims_is_busy(d->o.claims, child));
}

static void learn_kind(double *mean_us, double us) {
  *mean_us = us > *mean_us ? us : *mean_us + (us - *mean_us) / WEIGHT;
}

/*
 * A slow task counts at once. One that is not, but long beside the others, may
 * be alone, as the callback of a chord is among its members: it counts for no
 * more than some of these.
 */
void te_dispatch_learn(te_dispatch *d, const te_task *t, uint32_t run_us) {
  double us = run_us > 0 ? run_us : 1;
  if (t != NULL) learn_kind(&d->kind_us[t->kind], us);
  if (d->mean_us <= 0) d->mean_us = us;
  if (us < TE_HAND_STALL_MS * 1000 && us > LONG * d->mean_us)
    us = LONG * d->mean_us;
  d->mean_us += (us - d->mean_us) / WEIGHT;
}
