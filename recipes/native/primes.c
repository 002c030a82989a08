/***
Finds primes with libprimesieve, the hot path of `recipes/primes.lua`.

A list of primes is packed, so that it can travel: a byte for each prime, its
distance from the one before it; for the first one, from the start of the
range. A byte of 255 is added as well, but the prime is not there yet, so that
any distance can be written. The primes from 2 to 11 are `"\0\1\2\2\4"`.

@module native.primes
*/
#include <primesieve.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#define CLASS            "native.primes.iterator"
#define GAP_MORE         255u
#define PACKED_BYTES_MAX (8 << 20)  // half of what a task may return
#define LINE_BYTES_MAX   21         // the digits of 2^64 and a newline
#define BLOCK_BYTES      (16 << 10)

static uint64_t check_number(lua_State *L, int arg) {
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n >= 0, arg, "a number below 0");
  return (uint64_t)n;
}

static int iterator_close(lua_State *L) {
  primesieve_iterator *it = luaL_checkudata(L, 1, CLASS);
  primesieve_free_iterator(it);
  primesieve_init(it);  // closed by the scope, and once more by the collector
  return 0;
}

// Pushes an iterator that is closed when the calling function is left, also
// by an error.
static primesieve_iterator *push_iterator(lua_State *L) {
  primesieve_iterator *it = lua_newuserdatauv(L, sizeof(*it), 0);
  primesieve_init(it);
  luaL_setmetatable(L, CLASS);
  lua_toclose(L, -1);
  return it;
}

/***
Counts primes.
@function count
@tparam int start of the range, which it belongs to
@tparam int stop of the range, which it belongs to; the range is empty when it
is less than start
@treturn int
@raise when a number is negative, or memory is out
*/
static int primes_count(lua_State *L) {
  uint64_t start = check_number(L, 1), stop = check_number(L, 2);
  uint64_t count = primesieve_count_primes(start, stop);
  if (count == PRIMESIEVE_ERROR) return luaL_error(L, "the sieve failed");
  lua_pushinteger(L, (lua_Integer)count);
  return 1;
}

/***
Lists primes, packed.
@function pack
@tparam int start as for @{count}
@tparam int stop as for @{count}
@treturn string
@raise when a number is negative, memory is out, or the list takes more than
8 MiB: about as many primes
*/
static int primes_pack(lua_State *L) {
  uint64_t start = check_number(L, 1), stop = check_number(L, 2);
  primesieve_iterator *it = push_iterator(L);
  primesieve_jump_to(it, start, stop);
  luaL_Buffer packed;
  luaL_buffinit(L, &packed);
  uint64_t last = start;
  uint64_t prime = primesieve_next_prime(it);
  for (; prime <= stop; prime = primesieve_next_prime(it)) {
    uint64_t gap = prime - last;
    for (; gap >= GAP_MORE; gap -= GAP_MORE)
      luaL_addchar(&packed, '\xff');
    luaL_addchar(&packed, (char)gap);
    last = prime;
    if (luaL_bufflen(&packed) > PACKED_BYTES_MAX) {
      return luaL_error(L, "%I to %I: too many primes for one list",
                        (lua_Integer)start, (lua_Integer)stop);
    }
  }
  if (it->is_error) return luaL_error(L, "the sieve failed");
  luaL_pushresult(&packed);
  return 1;
}

/***
The primes of a packed list.
@function unpack
@tparam string packed by @{pack}
@tparam int start of its range
@treturn {int,...}
*/
static int primes_unpack(lua_State *L) {
  size_t size;
  const char *packed = luaL_checklstring(L, 1, &size);
  uint64_t prime = check_number(L, 2);
  lua_newtable(L);
  lua_Integer count = 0;
  for (size_t i = 0; i < size; i++) {
    unsigned char gap = (unsigned char)packed[i];
    prime += gap;
    if (gap == GAP_MORE) continue;
    lua_pushinteger(L, (lua_Integer)prime);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

// Appends a number and a newline; returns the new end.
static char *put_line(char *end, uint64_t n) {
  char line[LINE_BYTES_MAX];
  size_t at = sizeof(line);
  line[--at] = '\n';
  do {
    line[--at] = (char)('0' + n % 10);
    n /= 10;
  } while (n > 0);
  memcpy(end, line + at, sizeof(line) - at);
  return end + sizeof(line) - at;
}

// Writes and flushes; returns the number of primes, or -1 and sets errno.
static lua_Integer write_lines(FILE *file, const char *packed, size_t size,
                               uint64_t start) {
  char block[BLOCK_BYTES];
  char *end = block;
  uint64_t prime = start;
  lua_Integer count = 0;
  for (size_t i = 0; i < size; i++) {
    unsigned char gap = (unsigned char)packed[i];
    prime += gap;
    if (gap == GAP_MORE) continue;
    count++;
    end = put_line(end, prime);
    size_t used = (size_t)(end - block);
    if (sizeof(block) - used >= LINE_BYTES_MAX) continue;
    if (fwrite(block, 1, used, file) != used) return -1;
    end = block;
  }
  size_t used = (size_t)(end - block);
  if (fwrite(block, 1, used, file) != used || fflush(file) != 0) return -1;
  return count;
}

/***
Writes the primes of a packed list, one a line, and flushes the file.
@function write
@tparam file file open for writing
@tparam string packed by @{pack}
@tparam int start of its range
@treturn[1] int how many primes
@return[2] nil, as `file:write` does
@treturn[2] string message
@treturn[2] int number of the system's error
@raise when the file is closed
*/
static int primes_write(lua_State *L) {
  luaL_Stream *stream = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  luaL_argcheck(L, stream->closef != NULL, 1, "a closed file");
  size_t size;
  const char *packed = luaL_checklstring(L, 2, &size);
  uint64_t start = check_number(L, 3);
  lua_Integer count = write_lines(stream->f, packed, size, start);
  if (count < 0) return luaL_fileresult(L, 0, NULL);
  lua_pushinteger(L, count);
  return 1;
}

static void open_class(lua_State *L) {
  static const luaL_Reg meta[] = {
      {"__gc", iterator_close},
      {"__close", iterator_close},
      {NULL, NULL},
  };
  luaL_newmetatable(L, CLASS);
  luaL_setfuncs(L, meta, 0);
  lua_pop(L, 1);
}

__attribute__((visibility("default"))) int luaopen_native_primes(lua_State *L);

int luaopen_native_primes(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"count", primes_count}, {"pack", primes_pack}, {"unpack", primes_unpack},
      {"write", primes_write}, {NULL, NULL},
  };
  primesieve_set_num_threads(1);  // the workers are as many as the processors
  open_class(L);
  luaL_newlib(L, functions);
  return 1;
}
