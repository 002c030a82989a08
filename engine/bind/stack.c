/***
The far end of a deep Lua stack.
@module taskengine.core.stack
*/
#include <string.h>

#include "bind/bind.h"

#define LEVELS_MAX 100

/*
 * lua_getstack counts its way from the innermost level each time, past half a
 * million of them after a stack overflow. Here they are passed once. What Lua
 * keeps of a level, its record, begins with some pointers, of which one leads
 * to the caller's record. Which one is not for others to know; so it is looked
 * for, among the levels that lua_getstack has found.
 */
enum { POINTERS = 4 };  // in every Lua 5.4: function, top, previous, next

typedef struct CallInfo record;

static record *pointer_at(const record *r, size_t which) {
  void *p;
  memcpy(&p, (const char *)r + which * sizeof(p), sizeof(p));
  return p;
}

// The pointer that leads from each of the first levels to the next; POINTERS
// when there is none.
static size_t find_link(lua_State *L) {
  enum { LEVELS = 3 };
  record *of[LEVELS];
  lua_Debug ar;
  for (int level = 0; level < LEVELS; level++) {
    if (!lua_getstack(L, level, &ar)) return POINTERS;
    of[level] = ar.i_ci;
  }
  size_t link = 0;
  while (link < POINTERS &&
         (pointer_at(of[0], link) != of[1] || pointer_at(of[1], link) != of[2]))
    link++;
  return link;
}

static void set_string(lua_State *L, const char *key, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, int value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, key);
}

static void push_info(lua_State *L, record *r) {
  lua_Debug ar = {.i_ci = r};
  lua_newtable(L);
  lua_getinfo(L, "Slnf", &ar);
  lua_setfield(L, -2, "func");
  set_string(L, "source", ar.source);
  set_string(L, "short_src", ar.short_src);
  set_string(L, "what", ar.what);
  set_string(L, "name", ar.name);
  set_string(L, "namewhat", ar.namewhat);
  set_integer(L, "currentline", ar.currentline);
  set_integer(L, "linedefined", ar.linedefined);
}

// Fills a ring with the outermost levels; returns how many there are in all.
static size_t walk(lua_State *L, record **ring, size_t size) {
  size_t link = find_link(L);
  size_t count = 0;
  lua_Debug ar;
  if (link == POINTERS || !lua_getstack(L, 1, &ar)) return 0;
  // The last record is the thread's own and no level.
  for (record *r = ar.i_ci; pointer_at(r, link) != NULL;
       r = pointer_at(r, link))
    ring[count++ % size] = r;
  return count;
}

/***
The outermost levels of the running thread, in the time that one walk over its
stack takes.
@function outermost
@tparam int max how many at most, 1 to 100
@treturn {table,...} of `debug.getinfo(level, "Slnf")`, the outermost last;
empty when there are less than two
@treturn int the level of the last, as seen from the caller
*/
static int stack_outermost(lua_State *L) {
  lua_Integer max = luaL_checkinteger(L, 1);
  luaL_argcheck(L, max >= 1 && max <= LEVELS_MAX, 1, "out of range");
  record *last[LEVELS_MAX];
  size_t count = walk(L, last, (size_t)max);
  size_t some = count < (size_t)max ? count : (size_t)max;
  lua_createtable(L, (int)some, 0);
  for (size_t i = 1; i <= some; i++) {
    push_info(L, last[(count - some + i - 1) % (size_t)max]);
    lua_rawseti(L, -2, (lua_Integer)i);
  }
  lua_pushinteger(L, (lua_Integer)count);
  return 2;
}

static const luaL_Reg functions[] = {
    {"outermost", stack_outermost},
    {NULL, NULL},
};

int te_bind_open_stack(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
