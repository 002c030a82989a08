/***
Maps from strings to integers.
@module taskengine.core.testing.map
*/
#include <string.h>

#include "bind/bind.h"
#include "map.h"

#define CLASS "taskengine.testing.map"

typedef struct entry {
  lua_Integer value;
  char key[];  // the map keeps it
} entry;

static te_map *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

// Pushes the value of what was taken out, or nil, and frees it.
static int push_taken(lua_State *L, entry *e) {
  if (e == NULL) return 0;
  lua_pushinteger(L, e->value);
  te_free(e);
  return 1;
}

/***
An empty map.
@function new
@treturn map
*/
static int map_new(lua_State *L) {
  te_map_init(lua_newuserdatauv(L, sizeof(te_map), 0));
  luaL_setmetatable(L, CLASS);
  return 1;
}

/***
Empties the map and gives its memory back.
@function map:free
*/
static int map_free(lua_State *L) {
  te_map *m = check(L);
  size_t cursor = 0;
  for (void *e; (e = te_map_next(m, &cursor, NULL)) != NULL;)
    te_free(e);
  te_map_free(m);
  return 0;
}

/***
Sets a key.
@function map:set
@tparam string key
@tparam int value
@treturn ?int the value before
*/
static int map_set(lua_State *L) {
  te_map *m = check(L);
  te_slice key = te_bind_check_slice(L, 2);
  lua_Integer value = luaL_checkinteger(L, 3);
  entry *e = te_alloc(sizeof(*e) + key.size);
  e->value = value;
  memcpy(e->key, key.data, key.size);
  return push_taken(L, te_map_set(m, te_slice_of(e->key, key.size), e));
}

/***
Looks a key up.
@function map:find
@tparam string key
@treturn ?int
*/
static int map_find(lua_State *L) {
  const entry *e = te_map_find(check(L), te_bind_check_slice(L, 2));
  if (e == NULL) return 0;
  lua_pushinteger(L, e->value);
  return 1;
}

/***
Takes a key out.
@function map:take
@tparam string key
@treturn ?int its value
*/
static int map_take(lua_State *L) {
  return push_taken(L, te_map_take(check(L), te_bind_check_slice(L, 2)));
}

/***
All that is in the map.
@function map:entries
@treturn table from keys to values
@treturn int how many te_map_next gave
@treturn int the map's count
*/
static int map_entries(lua_State *L) {
  const te_map *m = check(L);
  size_t cursor = 0;
  lua_Integer seen = 0;
  te_slice key;
  lua_newtable(L);
  for (entry *e; (e = te_map_next(m, &cursor, &key)) != NULL; seen++) {
    lua_pushlstring(L, key.data, key.size);
    lua_pushinteger(L, e->value);
    lua_rawset(L, -3);
  }
  lua_pushinteger(L, seen);
  lua_pushinteger(L, (lua_Integer)m->count);
  return 3;
}

static const luaL_Reg methods[] = {
    {"free", map_free}, {"set", map_set},         {"find", map_find},
    {"take", map_take}, {"entries", map_entries}, {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", map_free},
    {"__close", map_free},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", map_new},
    {NULL, NULL},
};

int te_bind_open_testing_map(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
