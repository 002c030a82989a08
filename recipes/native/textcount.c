/***
Counts words, lines and different words of a text of any size, the hot path of
`recipes/filepipeline.lua`.

They are what Python says of a text that it has read: words stand between the
white space of Unicode, as of `text.split()`; a line ends with `\n`, `\r\n` or
`\r`, and what comes after the last of them is none, as of `text.count("\n")`.
The text is UTF-8; bytes that are not belong to words.

Of each word a fingerprint of 128 bits is kept, by SipHash with a key drawn at
random: words may have any length, and nobody can choose two with the same one.
When there are too many for memory they go to a file, see `printset.h`.

@module native.textcount
*/
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

#include <lauxlib.h>
#include <lua.h>

#include "support/printset.h"

#define CLASS "native.textcount.counter"
#define SLOTS (1u << 20)

typedef struct {
  uint64_t key[2];
  uint64_t v[4];    // of the word that goes on
  uint64_t tail;    // its bytes that are less than eight
  uint64_t size;    // 0: no word goes on
  uint8_t held[2];  // the beginning of what may be white space
  size_t held_size;
  bool has_cr;  // the text so far ends with one
  uint64_t words;
  uint64_t lines;
  printset *set;  // NULL: closed
} counter;

enum { WORD, SPACE, LEAD };

static const uint8_t KIND[256] = {
    ['\t'] = SPACE, ['\n'] = SPACE, ['\v'] = SPACE, ['\f'] = SPACE,
    ['\r'] = SPACE, [0x1c] = SPACE, [0x1d] = SPACE, [0x1e] = SPACE,
    [0x1f] = SPACE, [' '] = SPACE,  [0xc2] = LEAD,  [0xe1] = LEAD,
    [0xe2] = LEAD,  [0xe3] = LEAD,
};

static uint64_t rotate(uint64_t x, int by) {
  return x << by | x >> (64 - by);
}

static void sip_round(uint64_t *v) {
  v[0] += v[1];
  v[1] = rotate(v[1], 13) ^ v[0];
  v[0] = rotate(v[0], 32);
  v[2] += v[3];
  v[3] = rotate(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = rotate(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = rotate(v[1], 17) ^ v[2];
  v[2] = rotate(v[2], 32);
}

static void sip_add(uint64_t *v, uint64_t bytes) {
  v[3] ^= bytes;
  sip_round(v);
  v[0] ^= bytes;
}

static void sip_begin(counter *c) {
  c->v[0] = c->key[0] ^ UINT64_C(0x736f6d6570736575);
  c->v[1] = c->key[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee;
  c->v[2] = c->key[0] ^ UINT64_C(0x6c7967656e657261);
  c->v[3] = c->key[1] ^ UINT64_C(0x7465646279746573);
  c->tail = 0;
}

// A piece of the word that goes on, or of a new one.
static void add_piece(counter *c, const uint8_t *at, size_t size) {
  if (size == 0) return;
  c->has_cr = false;
  if (c->size == 0) sip_begin(c);
  const uint8_t *end = at + size;
  size_t in_tail = c->size & 7;
  c->size += size;
  for (; at < end && in_tail > 0; at++, in_tail = (in_tail + 1) & 7) {
    c->tail |= (uint64_t)*at << 8 * in_tail;
    if (in_tail < 7) continue;
    sip_add(c->v, c->tail);
    c->tail = 0;
  }
  for (; end - at >= 8; at += 8) {
    uint64_t bytes;
    memcpy(&bytes, at, sizeof(bytes));
    sip_add(c->v, le64toh(bytes));
  }
  for (; at < end; at++, in_tail++)
    c->tail |= (uint64_t)*at << 8 * in_tail;
}

// SipHash-1-3 of the word, of 128 bits.
static printset_print sip_end(counter *c) {
  uint64_t *v = c->v;
  printset_print p;
  sip_add(v, c->tail | c->size << 56);
  v[2] ^= 0xee;
  for (int i = 0; i < 3; i++)
    sip_round(v);
  p.slot = v[0] ^ v[1] ^ v[2] ^ v[3];
  v[1] ^= 0xdd;
  for (int i = 0; i < 3; i++)
    sip_round(v);
  p.part = v[0] ^ v[1] ^ v[2] ^ v[3];
  if (p.slot == 0 && p.part == 0) p.slot = 1;
  return p;
}

static void end_word(counter *c) {
  if (c->size == 0) return;
  c->words++;
  printset_add(c->set, sip_end(c));
  c->size = 0;
}

// How many bytes white space takes that begins with a LEAD: 0 when it is none,
// -1 when more bytes must be seen.
static int space_size(const uint8_t *at, size_t size) {
  if (size < 2) return -1;
  if (at[0] == 0xc2) return at[1] == 0x85 || at[1] == 0xa0 ? 2 : 0;
  uint32_t start = (uint32_t)at[0] << 8 | at[1];
  if (start != 0xe19a && start != 0xe280 && start != 0xe281 && start != 0xe380)
    return 0;
  if (size < 3) return -1;
  uint8_t last = at[2];
  bool is_space = last == 0x80;
  if (start == 0xe280)
    is_space = last <= 0x8a || last == 0xa8 || last == 0xa9 || last == 0xaf;
  if (start == 0xe281) is_space = last == 0x9f;
  return is_space && last >= 0x80 ? 3 : 0;
}

// Decides what was held, now that more is there; returns how much of that
// belongs to it.
static size_t end_held(counter *c, const uint8_t *data, size_t size) {
  uint8_t text[3];
  size_t held = c->held_size, more = 3 - held < size ? 3 - held : size;
  memcpy(text, c->held, held);
  memcpy(text + held, data, more);
  int space = space_size(text, held + more);
  if (space < 0) {
    memcpy(c->held, text, held + more);
    c->held_size = held + more;
    return more;
  }
  c->held_size = 0;
  if (space == 0) {
    add_piece(c, text, held);
    return 0;
  }
  end_word(c);
  c->has_cr = false;
  return (size_t)space - held;
}

// Where the next white space is, or what may be; `space` is its size as of
// space_size, and 0 when there is none up to the end.
static const uint8_t *find_space(const uint8_t *at, const uint8_t *end,
                                 int *space) {
  for (*space = 0; at < end; at++) {
    if (KIND[*at] == WORD) continue;
    *space = KIND[*at] == LEAD ? space_size(at, (size_t)(end - at)) : 1;
    if (*space != 0) break;
  }
  return at;
}

static void feed(counter *c, const uint8_t *data, size_t size) {
  const uint8_t *at = data, *end = data + size;
  if (c->held_size > 0) at += end_held(c, data, size);
  while (at < end) {
    const uint8_t *piece = at;
    int space;
    at = find_space(at, end, &space);
    add_piece(c, piece, (size_t)(at - piece));
    if (at == end) break;
    if (space < 0) {
      c->held_size = (size_t)(end - at);
      memcpy(c->held, at, c->held_size);
      break;
    }
    end_word(c);
    if (*at == '\r' || (*at == '\n' && !c->has_cr)) c->lines++;
    c->has_cr = *at == '\r';
    at += space;
  }
}

static counter *check_open(lua_State *L) {
  counter *c = luaL_checkudata(L, 1, CLASS);
  luaL_argcheck(L, c->set != NULL, 1, "a closed counter");
  return c;
}

static int push_problem(lua_State *L, int error) {
  lua_pushnil(L);
  lua_pushfstring(L, "words that do not fit into memory: %s", strerror(error));
  return 2;
}

/***
Makes a counter.
@function new
@tparam string folder for what does not fit into memory
@tparam[opt=1048576] int slots for words in memory, of 16 bytes each; a power of
two, from 1024
@treturn counter with a close, for `<close>`
@raise when an argument is wrong, or memory is out
*/
static int textcount_new(lua_State *L) {
  const char *folder = luaL_checkstring(L, 1);
  lua_Integer slots = luaL_optinteger(L, 2, SLOTS);
  luaL_argcheck(L, slots >= PRINTSET_SLOTS_MIN && slots <= PRINTSET_SLOTS_MAX,
                2, "1024 to 2^28 expected");
  counter *c = lua_newuserdatauv(L, sizeof(*c), 0);
  *c = (counter){.set = NULL};
  luaL_setmetatable(L, CLASS);
  if (getrandom(c->key, sizeof(c->key), 0) != sizeof(c->key))
    return luaL_error(L, "no random bytes: %s", strerror(errno));
  c->set = printset_new(folder, (size_t)slots);
  if (c->set == NULL) return luaL_error(L, "memory is out");
  return 1;
}

/***
Counts a piece of the text; words and bytes of a character may go on in the next
one.
@function counter:feed
@tparam string piece
@treturn[1] counter itself
@return[2] nil when the folder has no room, or cannot be written
@treturn[2] string message
@raise when it is closed
*/
static int counter_feed(lua_State *L) {
  counter *c = check_open(L);
  size_t size;
  const char *piece = luaL_checklstring(L, 2, &size);
  feed(c, (const uint8_t *)piece, size);
  int error = printset_error(c->set);
  if (error != 0) return push_problem(L, error);
  lua_settop(L, 1);
  return 1;
}

static int counter_close(lua_State *L) {
  counter *c = luaL_checkudata(L, 1, CLASS);
  printset_free(c->set);
  c->set = NULL;
  return 0;
}

/***
Ends the text and closes the counter.
@function counter:finish
@treturn[1] int words
@treturn[1] int lines
@treturn[1] int different words
@return[2] nil when the folder has no room, or cannot be written
@treturn[2] string message
@raise when it is closed
*/
static int counter_finish(lua_State *L) {
  counter *c = check_open(L);
  add_piece(c, c->held, c->held_size);
  c->held_size = 0;
  end_word(c);
  uint64_t different = printset_count(c->set);
  int error = printset_error(c->set);
  counter_close(L);
  if (error != 0) return push_problem(L, error);
  lua_pushinteger(L, (lua_Integer)c->words);
  lua_pushinteger(L, (lua_Integer)c->lines);
  lua_pushinteger(L, (lua_Integer)different);
  return 3;
}

static void open_class(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"feed", counter_feed},
      {"finish", counter_finish},
      {NULL, NULL},
  };
  static const luaL_Reg meta[] = {
      {"__gc", counter_close},
      {"__close", counter_close},
      {NULL, NULL},
  };
  luaL_newmetatable(L, CLASS);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

__attribute__((visibility("default"))) int
luaopen_native_textcount(lua_State *L);

int luaopen_native_textcount(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"new", textcount_new},
      {NULL, NULL},
  };
  open_class(L);
  luaL_newlib(L, functions);
  return 1;
}
