#include "hand.h"

void te_hand_init(te_hand *h) {
  te_list_init(&h->tasks);
  h->count = h->waiting = 0;
  h->moved_ms = 0;
  h->is_stalled = false;
}

size_t te_hand_occupied(const te_hand *h) {
  return h->count - h->waiting;
}

static size_t tasks_ahead(const te_hand *h, double mean_us) {
  if (h->is_stalled || mean_us <= 0) return 0;
  double n = TE_HAND_AHEAD_US / mean_us;
  return n > TE_HAND_AHEAD_MAX ? TE_HAND_AHEAD_MAX : (size_t)n;
}

size_t te_hand_room(const te_hand *h, unsigned slots, double mean_us) {
  size_t limit = slots + tasks_ahead(h, mean_us);
  size_t taken = te_hand_occupied(h);
  return limit > taken ? limit - taken : 0;
}

void te_hand_offer(te_hand *h, te_claims *claims, unsigned child, te_task *t,
                   uint64_t now_ms) {
  t->token = te_claims_offer(claims, t->field);
  t->has_claim = true;
  t->child = child;
  if (h->count == 0) h->moved_ms = now_ms;
  te_list_add_last(&h->tasks, &t->link);
  h->count++;
}

te_task *te_hand_find(const te_hand *h, te_token token) {
  te_list_each (link, &h->tasks) {
    te_task *t = te_container_of(link, te_task, link);
    if (t->token.claim == token.claim &&
        t->token.generation == token.generation)
      return t;
  }
  return NULL;
}

void te_hand_set_waits(te_hand *h, te_task *t, bool waits) {
  if (waits && !t->waits) h->waiting++;
  if (!waits && t->waits) h->waiting--;
  t->waits = waits;
}

static void take_out(te_hand *h, te_task *t) {
  te_hand_set_waits(h, t, false);
  te_list_remove(&t->link);
  h->count--;
}

void te_hand_end(te_hand *h, te_task *t, uint64_t now_ms) {
  take_out(h, t);
  h->moved_ms = now_ms;
  h->is_stalled = false;
}

te_task *te_hand_withdraw(te_hand *h, te_claims *claims) {
  te_list *link = te_list_last(&h->tasks);
  for (; link != NULL && link != &h->tasks; link = link->prev) {
    te_task *t = te_container_of(link, te_task, link);
    if (te_claims_withdraw(claims, t->token)) {
      t->has_claim = false;
      take_out(h, t);
      return t;
    }
  }
  return NULL;
}

const te_task *te_hand_culprit(const te_hand *h, const te_claims *claims,
                               unsigned child) {
  const te_task *only = NULL;
  size_t begun = 0;
  te_list_each (link, &h->tasks) {
    const te_task *t = te_container_of_const(link, te_task, link);
    if (te_claims_is_executing(claims, child, t->token)) return t;
    if (te_claims_is_taken(claims, t->token)) {
      only = t;
      begun++;
    }
  }
  return begun == 1 ? only : NULL;
}

bool te_hand_check_stall(te_hand *h, unsigned slots, uint64_t now_ms) {
  if (te_hand_occupied(h) <= slots) return false;
  if (now_ms - h->moved_ms < TE_HAND_STALL_MS) return false;
  h->is_stalled = true;
  return true;
}
