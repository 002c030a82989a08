#include "terms.h"

#include <stdlib.h>
#include <string.h>

// For qsort and bsearch.
static int compare(const void *a, const void *b) {
  const te_slice *x = &((const te_time_limit *)a)->task;
  const te_slice *y = &((const te_time_limit *)b)->task;
  int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
  if (order != 0) return order;
  return (x->size > y->size) - (x->size < y->size);
}

static size_t text_size(const te_terms *t) {
  size_t size = t->description.size;
  for (size_t i = 0; i < t->queue_count; i++)
    size += t->queues[i].size;
  for (size_t i = 0; i < t->time_limit_count; i++)
    size += t->time_limits[i].task.size;
  return size;
}

static te_slice keep(char **at, te_slice text) {
  te_slice kept = te_slice_of(*at, text.size);
  memcpy(*at, text.data, text.size);
  *at += text.size;
  return kept;
}

// One piece of memory: the terms, their lists, and the text of both.
te_terms *te_terms_new(const te_terms *terms) {
  size_t lists = terms->queue_count * sizeof(te_slice) +
                 terms->time_limit_count * sizeof(te_time_limit);
  te_terms *t = te_alloc(sizeof(*t) + lists + text_size(terms));
  te_slice *queues = (te_slice *)(t + 1);
  te_time_limit *limits = (te_time_limit *)(queues + terms->queue_count);
  char *at = (char *)(limits + terms->time_limit_count);
  *t = *terms;
  t->description = keep(&at, terms->description);
  for (size_t i = 0; i < t->queue_count; i++)
    queues[i] = keep(&at, terms->queues[i]);
  t->queues = queues;
  for (size_t i = 0; i < t->time_limit_count; i++) {
    limits[i].task = keep(&at, terms->time_limits[i].task);
    limits[i].ms = terms->time_limits[i].ms;
  }
  qsort(limits, t->time_limit_count, sizeof(*limits), compare);
  t->time_limits = limits;
  return t;
}

void te_terms_free(te_terms *t) {
  te_free(t);
}

uint32_t te_terms_time_limit(const te_terms *t, te_slice task) {
  te_time_limit wanted = {.task = task};
  const te_time_limit *own = bsearch(
      &wanted, t->time_limits, t->time_limit_count, sizeof(wanted), compare);
  return own != NULL ? own->ms : t->time_limit_ms;
}
