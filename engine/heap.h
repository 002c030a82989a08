/*
 * heap: a binary heap whose items know their place.
 *
 * Items embed a te_heap_node. Because each node holds its position, any item
 * can be removed or moved in O(log n), not only the first: a due task that is
 * revoked, a timer that is closed.
 */
#ifndef TE_HEAP_H
#define TE_HEAP_H

#include "te.h"

// A zeroed node is in no heap.
typedef struct te_heap_node {
  size_t place;  // from 1; 0 when in no heap
} te_heap_node;

// Whether `a` comes before `b`.
typedef bool (*te_heap_before)(const te_heap_node *a, const te_heap_node *b);

typedef struct te_heap {
  te_heap_node **nodes;
  size_t count;
  size_t cap;
  te_heap_before before;
} te_heap;

void te_heap_init(te_heap *h, te_heap_before before);
void te_heap_free(te_heap *h);  // the nodes are the caller's

void te_heap_add(te_heap *h, te_heap_node *node);  // keeps node until removed
te_heap_node *te_heap_first(const te_heap *h);     // NULL when empty
void te_heap_remove(te_heap *h, te_heap_node *node);
void te_heap_update(te_heap *h, te_heap_node *node);  // its order has changed

static inline bool te_heap_holds(const te_heap_node *node) {
  return node->place != 0;
}

#endif
