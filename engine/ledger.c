#include "ledger.h"

#include "report.h"
#include "verdict.h"

static te_task *task_of(te_list *link) {
  return te_container_of(link, te_task, link);
}

static te_slice field_of(const te_task *t) {
  return te_slice_of(t->field, TE_FIELD_BYTES);
}

void te_ledger_init(te_ledger *l, te_claims *claims) {
  l->claims = claims;
  l->unsettled = 0;
  te_map_init(&l->held);
  te_list_init(&l->ended);
  te_list_init(&l->told);
  te_news_init(&l->news);
}

void te_ledger_hold(te_ledger *l, te_task *t) {
  te_map_set(&l->held, field_of(t), t);
}

te_task *te_ledger_find(const te_ledger *l, te_slice field) {
  return te_map_find(&l->held, field);
}

bool te_ledger_holds(const te_ledger *l, te_slice field) {
  return te_ledger_find(l, field) != NULL;
}

void te_ledger_end(te_ledger *l, te_task *t) {
  te_task_hush(t);  // its outcome says more
  te_list_add_last(&l->ended, &t->link);
  l->unsettled++;
}

bool te_ledger_wait(const te_ledger *l, uint64_t now_ms, uint64_t *wait_ms) {
  *wait_ms = 0;
  return !te_list_is_empty(&l->ended) ||
         te_news_wait(&l->news, now_ms, wait_ms);
}

size_t te_ledger_tell(te_ledger *l, uint64_t now_ms) {
  return te_news_tell(&l->news, now_ms) + te_report_take(&l->ended, &l->told);
}

void te_ledger_write(te_ledger *l, te_report_arg add, void *arg) {
  te_news_write(&l->news, add, arg);
  te_report_write(&l->told, add, arg);
}

static void free_task(te_ledger *l, te_task *t) {
  te_list_remove(&t->link);
  if (t->has_claim) te_claims_clear(l->claims, t->token);
  te_task_free(t);
}

size_t te_ledger_forget_told(te_ledger *l) {
  size_t count = 0;
  te_list_each (link, &l->told) {
    te_map_take(&l->held, field_of(task_of(link)));
    free_task(l, task_of(link));
    count++;
  }
  l->unsettled -= count;
  te_news_forget_told(&l->news);
  return count;
}

void te_ledger_tell_again(te_ledger *l) {
  te_news_tell_again(&l->news);
  te_list *link;
  while ((link = te_list_last(&l->told)) != NULL) {
    te_list_remove(link);
    te_list_add_first(&l->ended, link);
  }
}

// Its own end, and not that of the process that ran it, or of this worker.
static bool is_own_end(const te_task *t) {
  return t->end == TE_END_OUTCOME || t->end == TE_END_RETRY ||
         t->end == TE_END_DELEGATED;
}

static size_t count_outcomes(const te_list *list) {
  size_t outcomes = 0;
  te_list_each (link, list)
    if (is_own_end(task_of(link))) outcomes++;
  return outcomes;
}

size_t te_ledger_untold(const te_ledger *l, size_t *outcomes) {
  *outcomes = count_outcomes(&l->ended) + count_outcomes(&l->told);
  return l->unsettled;
}

static void be_empty(te_ledger *l) {
  te_news_drop(&l->news);
  te_map_free(&l->held);
  l->unsettled = 0;
}

static void free_tasks(te_ledger *l, te_list *list) {
  te_list_each (link, list)
    free_task(l, task_of(link));
}

void te_ledger_drop(te_ledger *l) {
  free_tasks(l, &l->told);
  free_tasks(l, &l->ended);
  be_empty(l);
}

static void leave_tasks(te_ledger *l, te_list *list) {
  te_list_each (link, list) {
    te_task *t = task_of(link);
    te_list_remove(link);
    if (t->has_claim && is_own_end(t)) {
      te_verdict_leave(l->claims, t->token,
                       te_slice_of(t->record, t->record_size));
    } else if (t->has_claim && t->end != TE_END_LOST) {
      te_claims_clear(l->claims, t->token);  // goes back unspent
    }
    te_task_free(t);
  }
}

void te_ledger_leave_to_heir(te_ledger *l) {
  leave_tasks(l, &l->ended);
  leave_tasks(l, &l->told);
  be_empty(l);
}
