#include "fuzz.h"

#include <string.h>

#include <lauxlib.h>

#include "bind/bind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_lua();  // what it keeps was not there before
  size_t before = te_alloc_live();
  fuzz_one(te_slice_of(data, size));
  assert(te_alloc_live() == before);
  return 0;
}

lua_State *fuzz_lua(void) {
  static lua_State *L = NULL;
  if (L == NULL) {
    L = luaL_newstate();
    luaL_requiref(L, "taskengine.core", luaopen_taskengine_core, 0);
  }
  lua_settop(L, 0);
  return L;
}

void fuzz_push_reference(lua_State *L, const char *name) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "taskengine.core");
  lua_getfield(L, -1, "testing");
  lua_getfield(L, -1, "codec");
  lua_getfield(L, -1, name);
  lua_replace(L, -5);
  lua_pop(L, 3);
}

static bool same_float(double a, double b) {
  return memcmp(&a, &b, sizeof(a)) == 0;
}

static size_t count_pairs(lua_State *L, int table) {
  size_t count = 0;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_pop(L, 1);
    count++;
  }
  return count;
}

static bool same_table(lua_State *L, int a, int b) {
  if (count_pairs(L, a) != count_pairs(L, b)) return false;
  lua_pushnil(L);
  while (lua_next(L, a)) {
    lua_pushvalue(L, -2);
    lua_rawget(L, b);
    bool same = fuzz_same(L, -2, -1);
    lua_pop(L, same ? 2 : 3);
    if (!same) return false;
  }
  return true;
}

bool fuzz_same(lua_State *L, int a, int b) {
  a = lua_absindex(L, a);
  b = lua_absindex(L, b);
  luaL_checkstack(L, 8, "values that are nested deep");
  if (lua_type(L, a) != lua_type(L, b)) return false;
  if (lua_type(L, a) == LUA_TTABLE) return same_table(L, a, b);
  if (lua_type(L, a) == LUA_TNUMBER && !lua_isinteger(L, a)) {
    return !lua_isinteger(L, b) &&
           same_float(lua_tonumber(L, a), lua_tonumber(L, b));
  }
  return lua_isinteger(L, a) == lua_isinteger(L, b) && lua_rawequal(L, a, b);
}

void fuzz_collect(lua_State *L, int place) {
  int count = lua_gettop(L) - place;
  luaL_checkstack(L, 2, "a list");
  lua_createtable(L, count, 1);
  lua_insert(L, place + 1);
  for (int i = count; i > 0; i--)
    lua_rawseti(L, place + 1, i);
  lua_pushinteger(L, count);
  lua_setfield(L, place + 1, "n");
}

fuzz_pieces fuzz_cut(te_slice bytes) {
  fuzz_pieces p = {.rest = bytes, .state = 0};
  if (bytes.size == 0) return p;
  p.state = (uint8_t)bytes.data[0];
  p.rest = te_slice_of(bytes.data + 1, bytes.size - 1);
  return p;
}

te_slice fuzz_next_piece(fuzz_pieces *p) {
  p->state = p->state * 1664525 + 1013904223;
  size_t size = 1 + (p->state >> 27);
  if (size > p->rest.size) size = p->rest.size;
  te_slice piece = te_slice_of(p->rest.data, size);
  p->rest = te_slice_of(p->rest.data + size, p->rest.size - size);
  return piece;
}
