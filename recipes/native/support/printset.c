#include "printset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES      256  // kinds of
#define LEVELS_MAX 8
#define PAGE       2048  // prints read at once

/*
 * What did not fit: portions, each a table of where the prints with a byte end,
 * then the prints in the order of that byte.
 */
typedef struct {
  int fd;  // -1 when there is none
  off_t end;
  off_t *portions;
  size_t count;
  size_t room;
} spill;

struct printset {
  printset_print *slots;
  size_t mask;
  size_t used;
  size_t slots_max;
  spill spills[LEVELS_MAX];  // by the number of the byte
  int error;                 // the first; 0: none
  char folder[];
};

static void fail(printset *set, int error) {
  if (set->error == 0) set->error = error != 0 ? error : EIO;
}

static bool is_print(printset_print p) {
  return p.slot != 0 || p.part != 0;
}

// Puts a print into its slot; returns whether it is new.
static bool place(printset_print *slots, size_t mask, printset_print p) {
  size_t i = p.slot & mask;
  for (; is_print(slots[i]); i = (i + 1) & mask) {
    if (slots[i].slot == p.slot && slots[i].part == p.part) return false;
  }
  slots[i] = p;
  return true;
}

static void clear(printset *set) {
  memset(set->slots, 0, (set->mask + 1) * sizeof(*set->slots));
  set->used = 0;
}

static void grow(printset *set) {
  size_t mask = 2 * set->mask + 1;
  printset_print *slots = calloc(mask + 1, sizeof(*slots));
  if (slots == NULL) {
    fail(set, ENOMEM);
    return;
  }
  for (size_t i = 0; i <= set->mask; i++) {
    if (is_print(set->slots[i])) place(slots, mask, set->slots[i]);
  }
  free(set->slots);
  set->slots = slots;
  set->mask = mask;
}

// A file that is gone when it is closed, however this process ends.
static bool open_spill(printset *set, spill *s) {
  static const char NAME[] = "/words.XXXXXX";
  size_t size = strlen(set->folder);
  char *path = malloc(size + sizeof(NAME));
  if (path == NULL) {
    fail(set, ENOMEM);
    return false;
  }
  memcpy(path, set->folder, size);
  memcpy(path + size, NAME, sizeof(NAME));
  s->fd = mkostemp(path, O_CLOEXEC);
  if (s->fd < 0 || unlink(path) != 0) fail(set, errno);
  free(path);
  return set->error == 0;
}

static bool write_all(printset *set, spill *s, const void *data, size_t size) {
  const char *at = data;
  while (size > 0) {
    ssize_t n = pwrite(s->fd, at, size, s->end);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      fail(set, errno);
      return false;
    }
    at += n;
    size -= (size_t)n;
    s->end += n;
  }
  return true;
}

static bool read_all(printset *set, const spill *s, void *data, size_t size,
                     off_t from) {
  char *at = data;
  while (size > 0) {
    ssize_t n = pread(s->fd, at, size, from);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      fail(set, n < 0 ? errno : EIO);
      return false;
    }
    at += n;
    size -= (size_t)n;
    from += n;
  }
  return true;
}

static uint8_t byte_of(printset_print p, int level) {
  return (uint8_t)(p.part >> 8 * level);
}

/*
 * Moves all prints to the front of the table, in the order of one of their
 * bytes; `ends` says where those with a byte end.
 */
static void order(printset *set, int level, uint64_t *ends) {
  printset_print *list = set->slots;
  size_t count = 0, next[BYTES], at = 0;
  memset(ends, 0, BYTES * sizeof(*ends));
  for (size_t i = 0; i <= set->mask; i++) {
    if (!is_print(list[i])) continue;
    ends[byte_of(list[i], level)]++;
    list[count++] = list[i];
  }
  for (int kind = 0; kind < BYTES; kind++) {
    next[kind] = at;
    at += ends[kind];
    ends[kind] = at;
  }
  for (int kind = 0; kind < BYTES; kind++) {
    while (next[kind] < ends[kind]) {
      printset_print *here = &list[next[kind]];
      uint8_t to = byte_of(*here, level);
      printset_print *there = &list[next[to]++];
      printset_print moved = *here;
      *here = *there;
      *there = moved;
    }
  }
}

// Puts all that the table has into a portion, and empties it.
static void flush(printset *set, int level) {
  spill *s = &set->spills[level];
  uint64_t ends[BYTES];
  if (s->count == s->room) {
    size_t room = s->room == 0 ? 16 : 2 * s->room;
    off_t *portions = realloc(s->portions, room * sizeof(*portions));
    if (portions == NULL) {
      fail(set, ENOMEM);
      return;
    }
    s->portions = portions;
    s->room = room;
  }
  if (s->fd < 0 && !open_spill(set, s)) return;
  size_t used = set->used;
  s->portions[s->count++] = s->end;
  order(set, level, ends);
  if (write_all(set, s, ends, sizeof(ends)))
    write_all(set, s, set->slots, used * sizeof(*set->slots));
  clear(set);
}

static void add(printset *set, printset_print p, int level) {
  if (!place(set->slots, set->mask, p)) return;
  set->used++;
  if (set->used <= set->mask / 4 * 3) return;
  if (set->mask + 1 < set->slots_max) {
    grow(set);
  } else if (level < LEVELS_MAX) {
    flush(set, level);
  } else {
    fail(set, EOVERFLOW);  // as many words as that do not exist
  }
}

static void close_spill(spill *s) {
  if (s->fd >= 0) close(s->fd);
  free(s->portions);
  *s = (spill){.fd = -1};
}

// Adds to the table the prints of all portions of a level that have a byte.
static void add_part(printset *set, int level, int kind) {
  const spill *s = &set->spills[level];
  printset_print page[PAGE] = {{0, 0}};
  for (size_t i = 0; i < s->count && set->error == 0; i++) {
    uint64_t ends[2] = {0, 0};
    off_t table = s->portions[i];
    off_t skip = kind == 0 ? 0 : (kind - 1) * (off_t)sizeof(*ends);
    size_t size = kind == 0 ? sizeof(*ends) : sizeof(ends);
    if (!read_all(set, s, ends + (kind == 0), size, table + skip)) return;
    off_t prints = table + BYTES * (off_t)sizeof(*ends);
    for (uint64_t at = ends[0]; at < ends[1];) {
      uint64_t count = ends[1] - at < PAGE ? ends[1] - at : PAGE;
      off_t from = prints + (off_t)(at * sizeof(printset_print));
      if (!read_all(set, s, page, count * sizeof(printset_print), from)) return;
      for (uint64_t k = 0; k < count && set->error == 0; k++)
        add(set, page[k], level + 1);
      at += count;
    }
  }
}

// How many prints the table and the portions of a level have; both are empty
// then.
static uint64_t count_level(printset *set, int level) {
  if (level == LEVELS_MAX || set->spills[level].count == 0) {
    uint64_t used = set->used;
    clear(set);
    return used;
  }
  if (set->used > 0) flush(set, level);
  uint64_t sum = 0;
  for (int kind = 0; kind < BYTES && set->error == 0; kind++) {
    add_part(set, level, kind);
    sum += count_level(set, level + 1);
  }
  close_spill(&set->spills[level]);
  return sum;
}

printset *printset_new(const char *folder, size_t slots_max) {
  size_t size = strlen(folder) + 1;
  printset *set = calloc(1, sizeof(*set) + size);
  if (set == NULL) return NULL;
  memcpy(set->folder, folder, size);
  set->mask = PRINTSET_SLOTS_MIN - 1;
  set->slots_max = slots_max;
  for (int i = 0; i < LEVELS_MAX; i++)
    set->spills[i].fd = -1;
  set->slots = calloc(PRINTSET_SLOTS_MIN, sizeof(*set->slots));
  if (set->slots != NULL) return set;
  free(set);
  return NULL;
}

void printset_free(printset *set) {
  if (set == NULL) return;
  for (int i = 0; i < LEVELS_MAX; i++)
    close_spill(&set->spills[i]);
  free(set->slots);
  free(set);
}

void printset_add(printset *set, printset_print print) {
  if (set->error == 0) add(set, print, 0);
}

uint64_t printset_count(printset *set) {
  return count_level(set, 0);
}

int printset_error(const printset *set) {
  return set->error;
}
