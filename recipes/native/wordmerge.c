/***
Merges runs of counted words, the reduce of `recipes/mapreduce.lua`; see
`native.wordcount`. It reads them side by side, so memory does not depend on
how many words there are.

@module native.wordmerge
*/
#include <stdlib.h>
#include <sys/stat.h>

#include <lauxlib.h>
#include <lua.h>

#include "support/wordrun.h"

#define RUNS_MAX      32
#define PROBLEM_BYTES 4352
#define NUMBER_BITS   64

typedef struct {
  char *data;
  size_t size;
  size_t room;
} word;

// A part of a run that is read.
typedef struct {
  const char *path;
  FILE *file;
  uint64_t left;  // bytes that were not read yet
  word now;
  uint64_t count;
} source;

// The sources that have a word form a heap, the least word first.
typedef struct {
  source sources[RUNS_MAX];
  int count;
  source *heap[RUNS_MAX];
  int live;
  FILE *out;
  bool is_text;
  word summed;
  word last;       // the one that was written before
  uint64_t bytes;  // written
  uint64_t words;
  uint64_t all;
  char problem[PROBLEM_BYTES];
} merger;

static bool fail(merger *m, const char *path, const char *why) {
  snprintf(m->problem, sizeof(m->problem), "%s: %s", path, why);
  return false;
}

static bool damaged(merger *m, const source *s) {
  return fail(m, s->path, ferror(s->file) ? strerror(errno) : "damaged");
}

static wordrun_word view(word w) {
  return (wordrun_word){w.data, w.size};
}

static bool make_room(word *w, size_t size) {
  if (size <= w->room) return true;
  size_t room = size + size / 2 + 64;
  char *moved = realloc(w->data, room);
  if (moved == NULL) return false;
  w->data = moved;
  w->room = room;
  return true;
}

static bool get_number(source *s, uint64_t *out) {
  uint64_t n = 0;
  for (unsigned shift = 0; shift < NUMBER_BITS && s->left > 0; shift += 7) {
    int byte = getc_unlocked(s->file);
    if (byte == EOF) return false;
    s->left--;
    n |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *out = n;
      return true;
    }
  }
  return false;
}

// Reads the next entry of a source that has one.
static bool next(merger *m, source *s) {
  uint64_t shared, own;
  if (!get_number(s, &shared) || !get_number(s, &own)) return damaged(m, s);
  word *w = &s->now;
  if (shared > w->size || own == 0 || own > s->left ||
      own > WORDRUN_WORD_BYTES_MAX || shared + own > WORDRUN_WORD_BYTES_MAX)
    return damaged(m, s);
  int before = shared < w->size ? (unsigned char)w->data[shared] : -1;
  if (!make_room(w, shared + own)) return fail(m, s->path, strerror(ENOMEM));
  if (fread(w->data + shared, 1, own, s->file) != own) return damaged(m, s);
  s->left -= own;
  w->size = shared + own;
  bool is_above = (unsigned char)w->data[shared] > before;
  if (!is_above || !get_number(s, &s->count)) return damaged(m, s);
  return true;
}

static bool is_before(const source *a, const source *b) {
  return wordrun_compare(view(a->now), view(b->now)) < 0;
}

// Puts what is at `i` where it belongs below there.
static void sift(merger *m, int i) {
  source *moved = m->heap[i];
  for (int child; (child = 2 * i + 1) < m->live; i = child) {
    if (child + 1 < m->live && is_before(m->heap[child + 1], m->heap[child]))
      child++;
    if (!is_before(m->heap[child], moved)) break;
    m->heap[i] = m->heap[child];
  }
  m->heap[i] = moved;
}

// The least source goes on to its next word, or out of the heap.
static bool advance(merger *m) {
  source *s = m->heap[0];
  if (s->left > 0) {
    if (!next(m, s)) return false;
  } else {
    m->heap[0] = m->heap[--m->live];
  }
  if (m->live > 0) sift(m, 0);
  return true;
}

// Else it was cut off, or written over.
static bool has_size(FILE *file, uint64_t size) {
  struct stat st;
  return fstat(fileno(file), &st) == 0 && (uint64_t)st.st_size == size;
}

static bool get_header(source *s, uint32_t part, uint64_t *begin,
                       uint64_t *end) {
  char magic[WORDRUN_MAGIC_BYTES];
  uint32_t parts;
  if (fread(magic, sizeof(magic), 1, s->file) != 1) return false;
  if (memcmp(magic, WORDRUN_MAGIC, sizeof(magic)) != 0) return false;
  if (fread(&parts, sizeof(parts), 1, s->file) != 1) return false;
  parts = be32toh(parts);
  if (parts == 1) part = 0;
  if (parts > WORDRUN_PARTS_MAX || part >= parts) return false;
  uint64_t last = wordrun_ends_at(parts);
  *begin = *end = last;
  for (uint32_t i = 0; i < parts; i++) {
    uint64_t next_end;
    if (fread(&next_end, sizeof(next_end), 1, s->file) != 1) return false;
    next_end = be64toh(next_end);
    if (next_end < last) return false;
    if (i == part) {
      *begin = last;
      *end = next_end;
    }
    last = next_end;
  }
  return has_size(s->file, last);
}

static bool open_source(merger *m, source *s, uint32_t part) {
  uint64_t begin, end;
  s->file = fopen(s->path, "rbe");
  if (s->file == NULL) return fail(m, s->path, strerror(errno));
  if (!get_header(s, part, &begin, &end) ||
      fseeko(s->file, (off_t)begin, SEEK_SET) != 0)
    return damaged(m, s);
  s->left = end - begin;
  if (s->left == 0) return true;
  if (!next(m, s)) return false;
  m->heap[m->live++] = s;
  return true;
}

static void put(merger *m, uint64_t count) {
  m->words++;
  m->all += count;
  if (m->is_text) {
    fprintf(m->out, "%7llu ", (unsigned long long)count);
    fwrite(m->summed.data, 1, m->summed.size, m->out);
    putc_unlocked('\n', m->out);
    return;
  }
  m->bytes += wordrun_put(m->out, view(m->last), view(m->summed), count);
  word spare = m->last;
  m->last = m->summed;
  m->summed = spare;
}

// Writes the words of all sources, each once.
static bool put_all(merger *m) {
  while (m->live > 0 && !ferror(m->out)) {
    const source *s = m->heap[0];
    if (!make_room(&m->summed, s->now.size))
      return fail(m, s->path, strerror(ENOMEM));
    memcpy(m->summed.data, s->now.data, s->now.size);
    m->summed.size = s->now.size;
    uint64_t count = 0;
    do {
      count += m->heap[0]->count;
      if (!advance(m)) return false;
    } while (m->live > 0 &&
             wordrun_compare(view(m->heap[0]->now), view(m->summed)) == 0);
    put(m, count);
  }
  return true;
}

static bool merge(merger *m, uint32_t part) {
  for (int i = 0; i < m->count; i++) {
    if (!open_source(m, &m->sources[i], part)) return false;
  }
  for (int i = m->live / 2 - 1; i >= 0; i--)
    sift(m, i);
  return put_all(m);
}

static void close_all(merger *m) {
  for (int i = 0; i < m->count; i++) {
    if (m->sources[i].file != NULL) fclose(m->sources[i].file);
    free(m->sources[i].now.data);
  }
  free(m->summed.data);
  free(m->last.data);
}

// Merges into a new run of one part.
static bool merge_to(merger *m, const char *path, uint32_t part) {
  m->out = fopen(path, "wbe");
  if (m->out == NULL) return fail(m, path, strerror(errno));
  uint64_t end = wordrun_ends_at(1);
  wordrun_put_header(m->out, &end, 1);
  bool is_done = merge(m, part);
  end += m->bytes;
  if (is_done && fseeko(m->out, 0, SEEK_SET) == 0)
    wordrun_put_header(m->out, &end, 1);
  int error = wordrun_close(m->out);
  if (is_done && error != 0) return fail(m, path, strerror(error));
  return is_done;
}

// The paths of the runs; they stay on the Lua stack, which keeps them.
static void check_paths(lua_State *L, int arg, merger *m) {
  luaL_checktype(L, arg, LUA_TTABLE);
  lua_Integer count = luaL_len(L, arg);
  luaL_argcheck(L, count <= RUNS_MAX, arg, "too many runs at once");
  luaL_checkstack(L, RUNS_MAX, NULL);
  for (; m->count < count; m->count++) {
    lua_geti(L, arg, m->count + 1);
    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, arg, "not a path");
    m->sources[m->count].path = lua_tostring(L, -1);
  }
}

static int push_end(lua_State *L, const merger *m, bool is_done) {
  if (!is_done) {
    lua_pushnil(L);
    lua_pushstring(L, m->problem);
    return 2;
  }
  lua_pushinteger(L, (lua_Integer)m->words);
  lua_pushinteger(L, (lua_Integer)m->all);
  return 2;
}

/***
Merges one part of many runs into a run that has this part alone.
@function merge
@tparam {string,...} paths of runs, at most @{runs_max}
@tparam int part from 1; a run of one part alone is taken whole
@tparam string out path of the new run
@treturn[1] int how many different words
@treturn[1] int how many words, each as often as it was counted
@return[2] nil when a file cannot be read or written, or is no run
@treturn[2] string message
@raise when there are too many paths
*/
static int wordmerge_merge(lua_State *L) {
  merger m = {.is_text = false};
  lua_Integer part = luaL_checkinteger(L, 2);
  luaL_argcheck(L, part >= 1 && part <= WORDRUN_PARTS_MAX, 2,
                "1 to 1024 expected");
  const char *out = luaL_checkstring(L, 3);
  check_paths(L, 1, &m);
  bool is_done = merge_to(&m, out, (uint32_t)part - 1);
  close_all(&m);
  return push_end(L, &m, is_done);
}

/***
Writes the words of runs of one part as `uniq -c` does: a line for each word in
the order of their bytes, the count to the right in 7 columns, a space, the
word. Flushes the file.
@function write
@tparam file file open for writing
@tparam {string,...} paths of runs, at most @{runs_max}
@treturn[1] int how many different words
@treturn[1] int how many words, each as often as it was counted
@return[2] nil when a file cannot be read or written, or is no run
@treturn[2] string message
@raise when the file is closed, or there are too many paths
*/
static int wordmerge_write(lua_State *L) {
  merger m = {.is_text = true};
  luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  luaL_argcheck(L, stream->closef != NULL, 1, "a closed file");
  check_paths(L, 2, &m);
  m.out = stream->f;
  bool is_done = merge(&m, 0);
  if (is_done && (ferror(m.out) || fflush(m.out) != 0))
    is_done = fail(&m, "the output", strerror(errno));
  close_all(&m);
  return push_end(L, &m, is_done);
}

__attribute__((visibility("default"))) int
luaopen_native_wordmerge(lua_State *L);

/***
How many runs can be merged at once.
@tfield int runs_max
*/
int luaopen_native_wordmerge(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"merge", wordmerge_merge},
      {"write", wordmerge_write},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  lua_pushinteger(L, RUNS_MAX);
  lua_setfield(L, -2, "runs_max");
  return 1;
}
