#include "map.h"

#include <assert.h>
#include <string.h>

#define CAP_MIN 16

typedef struct te_map_slot {
  const char *key;
  uint32_t size;
  uint32_t hash;  // its low bits are the home slot
  void *value;    // NULL: empty
} slot;

typedef struct sip {
  uint64_t v0, v1, v2, v3;
} sip;

static inline uint64_t rotate(uint64_t x, int bits) {
  return x << bits | x >> (64 - bits);
}

static inline void sip_round(sip *s) {
  s->v0 += s->v1;
  s->v1 = rotate(s->v1, 13) ^ s->v0;
  s->v0 = rotate(s->v0, 32);
  s->v2 += s->v3;
  s->v3 = rotate(s->v3, 16) ^ s->v2;
  s->v0 += s->v3;
  s->v3 = rotate(s->v3, 21) ^ s->v0;
  s->v2 += s->v1;
  s->v1 = rotate(s->v1, 17) ^ s->v2;
  s->v2 = rotate(s->v2, 32);
}

static inline void sip_word(sip *s, uint64_t word) {
  s->v3 ^= word;
  sip_round(s);
  s->v0 ^= word;
}

// SipHash-1-3
static uint32_t hash_of(const te_map *m, te_slice key) {
  sip s = {m->secret[0] ^ UINT64_C(0x736f6d6570736575),
           m->secret[1] ^ UINT64_C(0x646f72616e646f6d),
           m->secret[0] ^ UINT64_C(0x6c7967656e657261),
           m->secret[1] ^ UINT64_C(0x7465646279746573)};
  uint64_t word;
  size_t at = 0;
  for (; key.size - at >= sizeof(word); at += sizeof(word)) {
    memcpy(&word, key.data + at, sizeof(word));
    sip_word(&s, word);
  }
  word = 0;
  if (at < key.size) memcpy(&word, key.data + at, key.size - at);
  // Its last byte is free: at most seven bytes are left over.
  sip_word(&s, word ^ (uint64_t)key.size << 56);
  s.v2 ^= 0xff;
  for (int i = 0; i < 3; i++)
    sip_round(&s);
  uint64_t hash = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
  return (uint32_t)(hash ^ hash >> 32);
}

static slot *slot_at(const te_map *m, size_t place) {
  return &m->slots[place & (m->cap - 1)];
}

void te_map_init(te_map *m) {
  memset(m, 0, sizeof(*m));
}

void te_map_free(te_map *m) {
  te_free(m->slots);
  te_map_init(m);
}

// The slot that holds the key, or the empty one where it would go.
static slot *seek(const te_map *m, te_slice key, uint32_t hash) {
  size_t place = hash;
  slot *s = slot_at(m, place);
  while (
      s->value != NULL &&
      !(s->hash == hash && te_slice_equal(te_slice_of(s->key, s->size), key))) {
    s = slot_at(m, ++place);
  }
  return s;
}

static void widen(te_map *m) {
  if (m->cap == 0) te_random(m->secret, sizeof(m->secret));
  te_map old = *m;
  m->cap = old.cap == 0 ? CAP_MIN : old.cap * 2;
  m->slots = te_alloc_zero(m->cap, sizeof(slot));
  for (size_t i = 0; i < old.cap; i++) {
    if (old.slots[i].value == NULL) continue;
    size_t place = old.slots[i].hash;
    while (slot_at(m, place)->value != NULL)
      place++;
    *slot_at(m, place) = old.slots[i];
  }
  te_free(old.slots);
}

void *te_map_find(const te_map *m, te_slice key) {
  if (m->count == 0) return NULL;
  return seek(m, key, hash_of(m, key))->value;
}

void *te_map_set(te_map *m, te_slice key, void *value) {
  assert(value != NULL && key.size <= UINT32_MAX);
  // At most three of four are in use.
  if (m->count >= m->cap / 4 * 3) widen(m);
  uint32_t hash = hash_of(m, key);
  slot *s = seek(m, key, hash);
  void *before = s->value;
  if (before == NULL) m->count++;
  *s = (slot){key.data, (uint32_t)key.size, hash, value};
  return before;
}

/*
 * Empties a slot, and moves up what had been pushed behind it: an entry
 * fills the gap unless its home lies between the gap and itself.
 */
static void *clear(te_map *m, slot *s) {
  void *value = s->value;
  size_t gap = (size_t)(s - m->slots);
  for (size_t place = gap + 1; slot_at(m, place)->value != NULL; place++) {
    size_t from_home = (place - slot_at(m, place)->hash) & (m->cap - 1);
    if (from_home < place - gap) continue;
    *slot_at(m, gap) = *slot_at(m, place);
    gap = place;
  }
  slot_at(m, gap)->value = NULL;
  m->count--;
  return value;
}

void *te_map_take(te_map *m, te_slice key) {
  if (m->count == 0) return NULL;
  slot *s = seek(m, key, hash_of(m, key));
  return s->value == NULL ? NULL : clear(m, s);
}

void *te_map_next(const te_map *m, size_t *cursor, te_slice *key) {
  for (; *cursor < m->cap; ++*cursor) {
    const slot *s = &m->slots[*cursor];
    if (s->value == NULL) continue;
    if (key != NULL) *key = te_slice_of(s->key, s->size);
    ++*cursor;
    return s->value;
  }
  return NULL;
}
