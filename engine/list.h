/*
 * list: an intrusive doubly linked list.
 *
 * The links lie in the items, so that linking never allocates and an item is
 * unlinked in O(1) without a search. The list is a ring through its head; an
 * initialised or unlinked link points at itself.
 */
#ifndef TE_LIST_H
#define TE_LIST_H

#include "te.h"

typedef struct te_list {
  struct te_list *next;
  struct te_list *prev;
} te_list;

// The struct of `type` whose `member` lies at `ptr`.
#define te_container_of(ptr, type, member)                                     \
  ((type *)((char *)(ptr)-offsetof(type, member)))
#define te_container_of_const(ptr, type, member)                               \
  ((const type *)((const char *)(ptr)-offsetof(type, member)))

/*
 * Visits every link from the front. The visited link may be removed (and its
 * item freed) on the way; others may not.
 */
// NOLINTBEGIN(bugprone-macro-parentheses): `link` is a name
#define te_list_each(link, list)                                               \
  for (te_list *link = (list)->next, *link##_next = link->next;                \
       link != (list); link = link##_next, link##_next = link->next)
// NOLINTEND(bugprone-macro-parentheses)

static inline void te_list_init(te_list *l) {
  l->next = l->prev = l;
}

static inline bool te_list_is_empty(const te_list *l) {
  return l->next == l;
}

// NULL when empty.
static inline te_list *te_list_first(const te_list *l) {
  return l->next == l ? NULL : l->next;
}

static inline te_list *te_list_last(const te_list *l) {
  return l->prev == l ? NULL : l->prev;
}

// `item` must be in no list.
static inline void te_list_add_first(te_list *l, te_list *item) {
  item->prev = l;
  item->next = l->next;
  item->next->prev = item;
  l->next = item;
}

static inline void te_list_add_last(te_list *l, te_list *item) {
  item->next = l;
  item->prev = l->prev;
  item->prev->next = item;
  l->prev = item;
}

// Leaves `item` initialised: once more is harmless.
static inline void te_list_remove(te_list *item) {
  item->prev->next = item->next;
  item->next->prev = item->prev;
  te_list_init(item);
}

#endif
