#include "awaited.h"

#include <assert.h>
#include <string.h>

#include "list.h"
#include "map.h"

typedef struct waiter {
  te_list link;
  te_child_ref child;
} waiter;

typedef struct outcome {
  char id[TE_ID_BYTES];
  te_list waiters;  // never empty
  te_list link;     // while those of one child are gathered
} outcome;

struct te_awaited {
  te_map outcomes;  // by id
};

static waiter *find_waiter(const outcome *o, te_child_ref child) {
  te_list_each (link, &o->waiters) {
    waiter *w = te_container_of(link, waiter, link);
    if (w->child.index == child.index && w->child.serial == child.serial)
      return w;
  }
  return NULL;
}

static void free_waiter(waiter *w) {
  te_list_remove(&w->link);
  te_free(w);
}

static void free_outcome(outcome *o) {
  te_list_each (link, &o->waiters)
    free_waiter(te_container_of(link, waiter, link));
  te_free(o);
}

bool te_awaited_add(te_awaited *a, te_slice id, te_child_ref child) {
  assert(id.size == TE_ID_BYTES);
  outcome *o = te_map_find(&a->outcomes, id);
  if (o == NULL) {
    o = te_alloc(sizeof(*o));
    memcpy(o->id, id.data, TE_ID_BYTES);
    te_list_init(&o->waiters);
    te_map_set(&a->outcomes, te_slice_of(o->id, TE_ID_BYTES), o);
  } else if (find_waiter(o, child) != NULL) {
    return false;
  }
  waiter *w = te_alloc(sizeof(*w));
  w->child = child;
  te_list_add_last(&o->waiters, &w->link);
  return true;
}

bool te_awaited_remove(te_awaited *a, te_slice id, te_child_ref child) {
  outcome *o = te_map_find(&a->outcomes, id);
  if (o == NULL) return false;
  waiter *w = find_waiter(o, child);
  if (w != NULL) free_waiter(w);
  if (!te_list_is_empty(&o->waiters)) return true;
  te_map_take(&a->outcomes, id);
  te_free(o);
  return false;
}

void te_awaited_remove_child(te_awaited *a, te_child_ref child) {
  size_t cursor = 0;
  te_list theirs;
  te_list_init(&theirs);
  // Nothing may be taken from a map that is gone through.
  outcome *o;
  while ((o = te_map_next(&a->outcomes, &cursor, NULL)) != NULL)
    if (find_waiter(o, child) != NULL) te_list_add_last(&theirs, &o->link);
  te_list_each (link, &theirs) {
    te_list_remove(link);
    o = te_container_of(link, outcome, link);
    te_awaited_remove(a, te_slice_of(o->id, TE_ID_BYTES), child);
  }
}

void te_awaited_clear(te_awaited *a) {
  size_t cursor = 0;
  outcome *o;
  while ((o = te_map_next(&a->outcomes, &cursor, NULL)) != NULL)
    free_outcome(o);
  te_map_free(&a->outcomes);
}

void te_awaited_end(te_awaited *a, te_slice id,
                    void (*each)(void *arg, te_child_ref child), void *arg) {
  outcome *o = te_map_take(&a->outcomes, id);
  if (o == NULL) return;
  te_list_each (link, &o->waiters)
    each(arg, te_container_of(link, waiter, link)->child);
  free_outcome(o);
}

te_awaited *te_awaited_new(void) {
  te_awaited *a = te_alloc(sizeof(*a));
  te_map_init(&a->outcomes);
  return a;
}

void te_awaited_free(te_awaited *a) {
  te_awaited_clear(a);
  te_free(a);
}
