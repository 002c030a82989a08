#include "held.h"

static te_task *task_of(te_list *link) {
  return te_container_of(link, te_task, link);
}

void te_held_init(te_held *h) {
  *h = (te_held){.count = 0};
  te_list_init(&h->tasks);
}

static void insert(te_held *h, te_task *t, te_list *before) {
  te_list_add_last(before, &t->link);
  h->count++;
  h->bytes += t->size;
}

void te_held_add(te_held *h, te_task *t) {
  insert(h, t, &h->tasks);
}

void te_held_add_back(te_held *h, te_task *t, te_task *near) {
  te_list *at = near == NULL ? &h->tasks : &near->link;
  while (at->prev != &h->tasks && task_of(at->prev)->order > t->order)
    at = at->prev;
  while (at != &h->tasks && task_of(at)->order < t->order)
    at = at->next;
  insert(h, t, at);
}

te_task *te_held_first(const te_held *h) {
  te_list *first = te_list_first(&h->tasks);
  return first == NULL ? NULL : task_of(first);
}

void te_held_remove(te_held *h, te_task *t) {
  te_list_remove(&t->link);
  h->bytes -= t->size;
  if (--h->count == 0) h->since_ms = 0;
}

te_task *te_held_near_end(const te_held *h, size_t max) {
  if (h->count == 0) return NULL;
  te_list *link = h->tasks.prev;
  for (size_t n = 1; n < max && link->prev != &h->tasks; n++)
    link = link->prev;
  return task_of(link);
}

te_task *te_held_next(const te_held *h, const te_task *t) {
  return t->link.next == &h->tasks ? NULL : task_of(t->link.next);
}
