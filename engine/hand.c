#include "hand.h"

#include "verdict.h"

void te_hand_init(te_hand *h, unsigned child, size_t waiting_max,
                  te_hand_index *index) {
  *h = (te_hand){.child = child, .waiting_max = waiting_max, .index = index};
  te_list_init(&h->tasks);
}

size_t te_hand_occupied(const te_hand *h) {
  bool is_over = h->waiting > h->waiting_max;
  return h->count - (is_over ? h->waiting_max : h->waiting);
}

size_t te_hand_open_slots(const te_hand *h, unsigned slots) {
  size_t occupied = te_hand_occupied(h);
  return occupied < slots ? slots - occupied : 0;
}

bool te_hand_is_freer(const te_hand *a, const te_hand *b) {
  size_t before_a = te_hand_occupied(a);
  size_t before_b = te_hand_occupied(b);
  return before_a != before_b ? before_a < before_b : a->waiting < b->waiting;
}

static size_t tasks_ahead(const te_hand *h, double mean_us) {
  if (h->is_stalled || mean_us <= 0) return 0;
  double n = TE_HAND_AHEAD_US / mean_us;
  return n > TE_HAND_AHEAD_MAX ? TE_HAND_AHEAD_MAX : (size_t)n;
}

// How many more fit if they are as large as those that are there.
static size_t tasks_fitting(const te_hand *h) {
  size_t n = h->count - h->waiting;
  if (n == 0) return SIZE_MAX;
  if (h->bytes >= TE_HAND_BYTES_MAX) return 0;
  return (TE_HAND_BYTES_MAX - h->bytes) / (h->bytes / n + 1) + 1;
}

size_t te_hand_room(const te_hand *h, unsigned slots, double mean_us) {
  size_t limit = slots + tasks_ahead(h, mean_us);
  size_t taken = te_hand_occupied(h);
  size_t room = limit > taken ? limit - taken : 0;
  size_t fitting = tasks_fitting(h);
  return room < fitting ? room : fitting;
}

void te_hand_offer(te_hand *h, te_claims *claims, te_task *t, uint64_t now_ms) {
  t->token = te_claims_offer(claims, t->field);
  t->has_claim = true;
  t->child = h->child;
  if (h->count == 0) h->moved_ms = now_ms;
  te_list_add_last(&h->tasks, &t->link);
  h->index->task[t->token.claim] = t;
  h->count++;
  h->bytes += t->size;
  h->expected_us += t->expected_us;
}

te_task *te_hand_find(const te_hand *h, te_token token) {
  if (token.claim >= TE_CLAIMS_MAX) return NULL;
  te_task *t = h->index->task[token.claim];
  bool is_it = t != NULL && t->child == h->child &&
               t->token.generation == token.generation;
  return is_it ? t : NULL;
}

void te_hand_set_waits(te_hand *h, te_task *t, bool waits) {
  if (waits == t->waits) return;
  t->waits = waits;
  if (waits) {
    h->waiting++;
    h->bytes -= t->size;
    h->expected_us -= t->expected_us;
  } else {
    h->waiting--;
    h->bytes += t->size;
    h->expected_us += t->expected_us;
  }
}

static void take_out(te_hand *h, te_task *t) {
  te_hand_set_waits(h, t, false);
  te_list_remove(&t->link);
  h->index->task[t->token.claim] = NULL;
  h->count--;
  h->bytes -= t->size;
  h->expected_us -= t->expected_us;
}

void te_hand_end(te_hand *h, te_task *t, uint64_t now_ms) {
  take_out(h, t);
  h->moved_ms = now_ms;
  h->is_stalled = false;
}

bool te_hand_withdraw_task(te_hand *h, te_claims *claims, te_task *t) {
  if (!te_claims_withdraw(claims, t->token)) return false;
  t->has_claim = false;
  take_out(h, t);
  return true;
}

te_task *te_hand_withdraw(te_hand *h, te_claims *claims) {
  te_list *link = te_list_last(&h->tasks);
  for (; link != NULL && link != &h->tasks; link = link->prev) {
    te_task *t = te_container_of(link, te_task, link);
    if (te_hand_withdraw_task(h, claims, t)) return t;
  }
  return NULL;
}

// What has no room in a claim is on its way here from a child that lives.
static bool is_whole(te_slice outcome) {
  te_verdict verdict;
  return te_verdict_read(outcome, &verdict) < 0 || !verdict.is_short;
}

te_task *te_hand_take_ended(te_hand *h, te_claims *claims, uint64_t now_ms) {
  te_slice outcome;
  te_list_each (link, &h->tasks) {
    te_task *t = te_container_of(link, te_task, link);
    if (!te_claims_outcome(claims, t->token, &outcome)) continue;
    if (!is_whole(outcome)) continue;
    if (t->end == TE_END_NONE) te_task_set_outcome(t, outcome);
    te_hand_end(h, t, now_ms);
    return t;
  }
  return NULL;
}

// NULL: none.
static const te_task *find_culprit(const te_hand *h, const te_claims *claims) {
  const te_task *only = NULL;
  size_t begun = 0;
  te_list_each (link, &h->tasks) {
    const te_task *t = te_container_of_const(link, te_task, link);
    if (te_claims_is_executing(claims, h->child, t->token)) return t;
    if (te_claims_is_taken(claims, t->token)) {
      only = t;
      begun++;
    }
  }
  return begun == 1 ? only : NULL;
}

static void judge(te_task *t, te_claims *claims, bool is_culprit, int pid,
                  const char *why) {
  te_slice outcome;
  if (t->end != TE_END_NONE) return;  // its time was up
  if (te_claims_outcome(claims, t->token, &outcome)) {
    te_task_set_outcome(t, outcome);
  } else if (is_culprit) {
    te_task_fail(t, TE_END_LOST, "WorkerLost",
                 "the process that ran it ended: %s, pid %d", why, pid);
  } else if ((t->envelope.flags & TE_FLAG_LOST_FAILS) != 0) {
    te_task_fail(t, TE_END_OUTCOME, "WorkerLost",
                 "it is not to be started again, and its process ended: %s",
                 why);
  } else {
    te_task_end(t, TE_END_BACK, te_slice_str(NULL));
  }
}

void te_hand_judge(te_hand *h, te_claims *claims, bool is_killed, int pid,
                   const char *why) {
  const te_task *culprit = is_killed ? NULL : find_culprit(h, claims);
  te_list_each (link, &h->tasks) {
    te_task *t = te_container_of(link, te_task, link);
    judge(t, claims, t == culprit, pid, why);
  }
}

te_task *te_hand_take_first(te_hand *h, uint64_t now_ms) {
  te_list *first = te_list_first(&h->tasks);
  if (first == NULL) return NULL;
  te_task *t = te_container_of(first, te_task, link);
  te_hand_end(h, t, now_ms);
  return t;
}

bool te_hand_is_slow(const te_hand *h, uint64_t now_ms) {
  return h->count > 0 && now_ms - h->moved_ms >= TE_HAND_STALL_MS;
}

bool te_hand_check_stall(te_hand *h, unsigned slots, uint64_t now_ms) {
  if (te_hand_occupied(h) <= slots || !te_hand_is_slow(h, now_ms)) return false;
  h->is_stalled = true;
  return true;
}

bool te_hand_check_clogged(te_hand *h, unsigned slots) {
  if (h->waiting <= h->waiting_max / 2) h->is_clogged = false;
  if (h->is_clogged || h->waiting < h->waiting_max + slots) return false;
  h->is_clogged = true;
  return true;
}
