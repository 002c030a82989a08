/*
 * map: from byte strings to pointers.
 *
 * Open addressing with linear probing; removing closes the gap, so nothing
 * decays however much comes and goes. The hash is keyed with a secret of each
 * map: whoever chooses task ids cannot choose them to collide.
 *
 * Keys are not copied: the map keeps a key as long as the entry lives, and
 * it usually lies in the value. Values are the caller's and never NULL. A
 * zeroed map is an empty one.
 */
#ifndef TE_MAP_H
#define TE_MAP_H

#include "te.h"

typedef struct te_map {
  struct te_map_slot *slots;
  size_t count;
  size_t cap;  // a power of two, or 0
  uint64_t secret[2];
} te_map;

void te_map_init(te_map *m);
void te_map_free(te_map *m);  // leaves it empty and usable

void *te_map_find(const te_map *m, te_slice key);  // NULL when not there

// Keeps key and value. Returns the value whose place it took, or NULL; the
// old key is not needed any more.
void *te_map_set(te_map *m, te_slice key, void *value);

void *te_map_take(te_map *m, te_slice key);  // NULL when not there

/*
 * The values in no particular order: start with *cursor = 0; NULL is the end.
 * Nothing may be added or taken in between. `key` may be NULL.
 */
void *te_map_next(const te_map *m, size_t *cursor, te_slice *key);

#endif
