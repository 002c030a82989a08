/***
Counts the words of a text, the hot path of `recipes/mapreduce.lua`.

A word is what stands between white space: space, tab, newline, vertical tab,
form feed and carriage return. Any other byte belongs to a word, whatever the
text's encoding is. What is counted is written as runs, see `wordrun.h`;
`native.wordmerge` merges them.

@module native.wordcount
*/
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "support/wordrun.h"

#define BLOCK_BYTES     (256u << 10)
#define PAD_BYTES       8u  // a word may be read beyond its end
#define TEXT_BYTES_MAX  (WORDRUN_WORD_BYTES_MAX + BLOCK_BYTES)
#define ARENA_BYTES     (16u << 20)
#define ARENA_BYTES_MIN (2u << 20)
#define SLOTS_MIN       (1u << 12)
#define PATH_BYTES_MAX  4096
#define PROBLEM_BYTES   (PATH_BYTES_MAX + 256)

typedef struct {
  uint64_t count;
  uint32_t size;
  uint32_t part;
  char bytes[];
} record;

typedef struct {
  uint32_t hash;  // its lower half
  uint32_t at;    // of the record, in words of the arena; 0: none
} slot;

/* The records lie in the arena one after the other, from its second word on. */
typedef struct {
  uint64_t *arena;
  size_t used;
  size_t limit;  // both in words of 8 bytes
  slot *slots;
  size_t mask;
  size_t records;
} table;

typedef struct {
  const char *path;
  int fd;
  uint64_t from;
  uint64_t to;
  const char *out;
  uint32_t parts;
  uint64_t seed;
  table table;
  char *text;   // what was read and not counted yet
  size_t kept;  // bytes of a word that goes on in the next block
  uint64_t at;  // of the next block in the file
  lua_Integer runs;
  uint64_t words;
  char problem[PROBLEM_BYTES];
} job;

static const bool SPACE[256] = {
    [' '] = true,  ['\t'] = true, ['\n'] = true,
    ['\v'] = true, ['\f'] = true, ['\r'] = true,
};

static bool fail(job *j, const char *path, int error) {
  snprintf(j->problem, sizeof(j->problem), "%s: %s", path, strerror(error));
  return false;
}

static uint64_t mix(uint64_t h) {
  h *= UINT64_C(0x9fb21c651e98df25);
  h ^= h >> 29;
  h *= UINT64_C(0xd6e8feb86659fd93);
  return h ^ h >> 32;
}

// The same on every machine, as it says which part a word belongs to. Up to
// PAD_BYTES after the word are read, and left out.
static uint64_t hash_of(wordrun_word word, uint64_t seed) {
  const char *at = word.data;
  uint64_t h = seed ^ word.size, bytes;
  size_t left = word.size;
  for (; left > 8; left -= 8, at += 8) {
    memcpy(&bytes, at, sizeof(bytes));
    h = mix(h ^ le64toh(bytes));
  }
  memcpy(&bytes, at, sizeof(bytes));
  return mix(h ^ (le64toh(bytes) & UINT64_MAX >> (64 - 8 * left)));
}

static record *record_at(const table *t, size_t at) {
  return (record *)(t->arena + at);
}

static size_t words_of(size_t size) {
  return (sizeof(record) + size + 7) / 8;
}

static void table_clear(table *t) {
  memset(t->slots, 0, (t->mask + 1) * sizeof(*t->slots));
  t->used = 1;
  t->records = 0;
}

static bool table_init(table *t, size_t bytes) {
  t->limit = bytes / 8;
  t->arena = malloc(bytes);
  t->slots = malloc(SLOTS_MIN * sizeof(*t->slots));
  t->mask = SLOTS_MIN - 1;
  if (t->arena == NULL || t->slots == NULL) return false;
  table_clear(t);
  return true;
}

static bool table_grow(table *t) {
  size_t mask = 2 * t->mask + 1;
  slot *slots = calloc(mask + 1, sizeof(*slots));
  if (slots == NULL) return false;
  for (size_t i = 0; i <= t->mask; i++) {
    if (t->slots[i].at == 0) continue;
    size_t to = t->slots[i].hash & mask;
    while (slots[to].at != 0)
      to = (to + 1) & mask;
    slots[to] = t->slots[i];
  }
  free(t->slots);
  t->slots = slots;
  t->mask = mask;
  return true;
}

// The slot of a word, or the empty one where it belongs.
static slot *table_find(const table *t, wordrun_word word, uint32_t hash) {
  for (size_t i = hash & t->mask;; i = (i + 1) & t->mask) {
    slot *s = &t->slots[i];
    if (s->at == 0) return s;
    if (s->hash != hash) continue;
    const record *r = record_at(t, s->at);
    if (r->size == word.size && memcmp(r->bytes, word.data, word.size) == 0)
      return s;
  }
}

static int compare(const void *a, const void *b) {
  const record *one = *(record *const *)a, *other = *(record *const *)b;
  return wordrun_compare((wordrun_word){one->bytes, one->size},
                         (wordrun_word){other->bytes, other->size});
}

// Writes one part; returns its size.
static uint64_t put_part(FILE *file, record **sorted, size_t count) {
  wordrun_word last = {"", 0};
  uint64_t size = 0;
  for (size_t i = 0; i < count; i++) {
    wordrun_word word = {sorted[i]->bytes, sorted[i]->size};
    size += wordrun_put(file, last, word, sorted[i]->count);
    last = word;
  }
  return size;
}

/*
 * Orders the records by part and then by word: `ends` says, in `sorted`, where
 * each part ends.
 */
static void sort(const table *t, uint32_t parts, record **sorted,
                 size_t *ends) {
  size_t begins[WORDRUN_PARTS_MAX] = {0};
  for (size_t at = 1; at < t->used; at += words_of(record_at(t, at)->size))
    begins[record_at(t, at)->part]++;
  size_t before = 0;
  for (uint32_t part = 0; part < parts; part++) {
    size_t count = begins[part];
    begins[part] = ends[part] = before;
    before += count;
  }
  for (size_t at = 1; at < t->used; at += words_of(record_at(t, at)->size))
    sorted[ends[record_at(t, at)->part]++] = record_at(t, at);
  for (uint32_t part = 0; part < parts; part++) {
    qsort(sorted + begins[part], ends[part] - begins[part], sizeof(record *),
          compare);
  }
}

static void put_run(job *j, FILE *file, record **sorted) {
  size_t ends[WORDRUN_PARTS_MAX];
  uint64_t end_bytes[WORDRUN_PARTS_MAX] = {0};
  sort(&j->table, j->parts, sorted, ends);
  wordrun_put_header(file, end_bytes, j->parts);
  uint64_t end = wordrun_ends_at(j->parts);
  size_t begin = 0;
  for (uint32_t part = 0; part < j->parts; part++) {
    end += put_part(file, sorted + begin, ends[part] - begin);
    end_bytes[part] = end;
    begin = ends[part];
  }
  if (fseeko(file, 0, SEEK_SET) == 0)
    wordrun_put_header(file, end_bytes, j->parts);
}

// Writes a run of all that the table has, and empties it.
static bool spill(job *j) {
  char path[PATH_BYTES_MAX];
  int size = snprintf(path, sizeof(path), "%s.%d", j->out, (int)j->runs + 1);
  if (size >= (int)sizeof(path)) return fail(j, j->out, ENAMETOOLONG);
  record **sorted = malloc((j->table.records + 1) * sizeof(record *));
  if (sorted == NULL) return fail(j, "a run", ENOMEM);
  FILE *file = fopen(path, "wbe");
  if (file == NULL) {
    fail(j, path, errno);
    free(sorted);
    return false;
  }
  put_run(j, file, sorted);
  free(sorted);
  int error = wordrun_close(file);
  if (error != 0) return fail(j, path, error);
  j->runs++;
  table_clear(&j->table);
  return true;
}

static bool add_record(job *j, slot *s, wordrun_word word, uint64_t hash) {
  table *t = &j->table;
  record *r = record_at(t, t->used);
  r->count = 1;
  r->size = (uint32_t)word.size;
  r->part = (uint32_t)((hash >> 32) * j->parts >> 32);
  memcpy(r->bytes, word.data, word.size);
  *s = (slot){.hash = (uint32_t)hash, .at = (uint32_t)t->used};
  t->used += words_of(word.size);
  t->records++;
  if (t->records <= t->mask / 4 * 3) return true;
  return table_grow(t) || fail(j, "the words of a range", ENOMEM);
}

static bool add(job *j, wordrun_word word) {
  table *t = &j->table;
  uint64_t hash = hash_of(word, j->seed);
  slot *s = table_find(t, word, (uint32_t)hash);
  j->words++;
  if (s->at != 0) {
    record_at(t, s->at)->count++;
    return true;
  }
  if (t->used + words_of(word.size) > t->limit) {
    if (!spill(j)) return false;
    s = table_find(t, word, (uint32_t)hash);
  }
  return add_record(j, s, word, hash);
}

// Counts the words of a piece of text; the last one may go on after it, and is
// kept then.
static bool count_piece(job *j, size_t size, bool is_last) {
  const char *at = j->text, *end = at + size;
  for (;;) {
    while (at < end && SPACE[(unsigned char)*at])
      at++;
    const char *word = at;
    while (at < end && !SPACE[(unsigned char)*at])
      at++;
    if (word == at || (at == end && !is_last)) {
      j->kept = (size_t)(end - word);
      memmove(j->text, word, j->kept);
      return true;
    }
    if (at - word > (ptrdiff_t)WORDRUN_WORD_BYTES_MAX) break;
    if (!add(j, (wordrun_word){word, (size_t)(at - word)})) return false;
  }
  snprintf(j->problem, sizeof(j->problem), "%s: a word of over %u bytes",
           j->path, WORDRUN_WORD_BYTES_MAX);
  return false;
}

// Reads a block behind what was kept; -1 when it failed.
static ssize_t read_block(job *j) {
  ssize_t got;
  do {
    got = pread(j->fd, j->text + j->kept, BLOCK_BYTES, (off_t)j->at);
  } while (got < 0 && errno == EINTR);
  if (got < 0) fail(j, j->path, errno);
  return got;
}

/*
 * Goes to the first line that begins in the range: a line belongs to the range
 * in which it begins, whole.
 */
static bool find_line(job *j) {
  if (j->from == 0) return true;
  for (j->at = j->from - 1; j->at + 1 < j->to;) {
    ssize_t got = read_block(j);
    if (got < 0) return false;
    if (got == 0) break;
    const char *newline = memchr(j->text, '\n', (size_t)got);
    if (newline != NULL) {
      j->at += (uint64_t)(newline - j->text) + 1;
      return true;
    }
    j->at += (uint64_t)got;
  }
  j->at = j->to;
  return true;
}

// How much of a block belongs to the range: all, or up to the first line end
// from the last byte of the range on.
static size_t part_of_block(const job *j, size_t got, bool *is_last) {
  uint64_t last = j->to - 1;
  size_t skip = last > j->at ? (size_t)(last - j->at) : 0;
  if (skip >= got) return got;
  const char *block = j->text + j->kept;
  const char *newline = memchr(block + skip, '\n', got - skip);
  if (newline == NULL) return got;
  *is_last = true;
  return (size_t)(newline - block) + 1;
}

static bool count_range(job *j) {
  if (!find_line(j)) return false;
  bool is_last = j->at >= j->to;
  while (!is_last) {
    if (j->kept > WORDRUN_WORD_BYTES_MAX) return count_piece(j, j->kept, true);
    ssize_t got = read_block(j);
    if (got < 0) return false;
    is_last = got == 0;
    size_t size = part_of_block(j, (size_t)got, &is_last);
    j->at += size;
    if (!count_piece(j, j->kept + size, is_last)) return false;
  }
  return j->table.records == 0 || spill(j);
}

static bool run(job *j, size_t arena_bytes) {
  j->fd = open(j->path, O_RDONLY | O_CLOEXEC);
  if (j->fd < 0) return fail(j, j->path, errno);
  j->text = malloc(TEXT_BYTES_MAX + PAD_BYTES);
  bool is_done = (table_init(&j->table, arena_bytes) && j->text != NULL) ||
                 fail(j, "a range", ENOMEM);
  is_done = is_done && count_range(j);
  free(j->table.arena);
  free(j->table.slots);
  free(j->text);
  close(j->fd);
  return is_done;
}

static uint64_t check_position(lua_State *L, int arg) {
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n >= 0, arg, "a position below 0");
  return (uint64_t)n;
}

/***
Counts the words of those lines of a file that begin in a range of its bytes.
They are written as runs: one, or more when the words do not fit into memory;
none when there are no words.
@function count
@tparam string path
@tparam int from the range's first byte; 0 is the first of the file
@tparam int to the byte after its last
@tparam string out what the paths of the runs begin with: `out.1`, `out.2`, ...
@tparam int parts in how many parts a run is to be, 1 to 1024
@tparam int seed drawn once for all ranges; the same word goes to the same part
in all of them
@tparam[opt=16777216] int bytes_max how much memory words may take, from 2 MiB;
there are tables besides, of up to as much again
@treturn[1] int how many runs
@treturn[1] int how many words, each as often as it is there
@return[2] nil when a file cannot be read or written, or a word has over 1 MiB
@treturn[2] string message
@raise when an argument is out of its range
*/
static int wordcount_count(lua_State *L) {
  lua_Integer parts = luaL_checkinteger(L, 5);
  job j = {
      .path = luaL_checkstring(L, 1),
      .from = check_position(L, 2),
      .to = check_position(L, 3),
      .out = luaL_checkstring(L, 4),
      .parts = (uint32_t)parts,
      .seed = (uint64_t)luaL_checkinteger(L, 6),
  };
  lua_Integer bytes = luaL_optinteger(L, 7, ARENA_BYTES);
  luaL_argcheck(L, parts >= 1 && parts <= WORDRUN_PARTS_MAX, 5,
                "1 to 1024 expected");
  luaL_argcheck(L, bytes >= ARENA_BYTES_MIN && bytes <= 1 << 30, 7,
                "2 MiB to 1 GiB expected");
  if (!run(&j, (size_t)bytes)) {
    lua_pushnil(L);
    lua_pushstring(L, j.problem);
    return 2;
  }
  lua_pushinteger(L, j.runs);
  lua_pushinteger(L, (lua_Integer)j.words);
  return 2;
}

__attribute__((visibility("default"))) int
luaopen_native_wordcount(lua_State *L);

int luaopen_native_wordcount(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"count", wordcount_count},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
