#include "heap.h"

#include <assert.h>
#include <string.h>

#define CAP_MIN 16

void te_heap_init(te_heap *h, te_heap_before before) {
  memset(h, 0, sizeof(*h));
  h->before = before;
}

void te_heap_free(te_heap *h) {
  te_free(h->nodes);
  te_heap_init(h, h->before);
}

static te_heap_node *at(const te_heap *h, size_t place) {
  return h->nodes[place - 1];
}

static void put(te_heap *h, size_t place, te_heap_node *node) {
  h->nodes[place - 1] = node;
  node->place = place;
}

static void rise(te_heap *h, te_heap_node *node) {
  size_t place = node->place;
  while (place > 1 && h->before(node, at(h, place / 2))) {
    put(h, place, at(h, place / 2));
    place /= 2;
  }
  put(h, place, node);
}

static void sink(te_heap *h, te_heap_node *node) {
  size_t place = node->place;
  for (;;) {
    size_t child = place * 2;
    if (child > h->count) break;
    if (child < h->count && h->before(at(h, child + 1), at(h, child))) child++;
    if (!h->before(at(h, child), node)) break;
    put(h, place, at(h, child));
    place = child;
  }
  put(h, place, node);
}

void te_heap_add(te_heap *h, te_heap_node *node) {
  assert(!te_heap_holds(node));
  if (h->count == h->cap) {
    h->cap = h->cap == 0 ? CAP_MIN : h->cap * 2;
    h->nodes = te_realloc(h->nodes, h->cap * sizeof(te_heap_node *));
  }
  put(h, ++h->count, node);
  rise(h, node);
}

te_heap_node *te_heap_first(const te_heap *h) {
  return h->count == 0 ? NULL : at(h, 1);
}

void te_heap_remove(te_heap *h, te_heap_node *node) {
  assert(te_heap_holds(node) && at(h, node->place) == node);
  te_heap_node *last = at(h, h->count--);
  if (last != node) {
    put(h, node->place, last);
    te_heap_update(h, last);
  }
  node->place = 0;
}

void te_heap_update(te_heap *h, te_heap_node *node) {
  assert(te_heap_holds(node) && at(h, node->place) == node);
  rise(h, node);
  sink(h, node);
}
