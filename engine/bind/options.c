#include "bind/options.h"

#include <string.h>

#include <lauxlib.h>

void te_bind_check_options(lua_State *L, int opts, const char *const *known) {
  lua_pushnil(L);
  while (lua_next(L, opts) != 0) {
    lua_pop(L, 1);
    const char *key = "?";
    if (lua_type(L, -1) == LUA_TSTRING) key = lua_tostring(L, -1);
    const char *const *name = known;
    while (*name != NULL && strcmp(*name, key) != 0)
      name++;
    if (*name == NULL) luaL_error(L, "unknown option '%s'", key);
  }
}

int te_bind_raw_field(lua_State *L, int table, const char *name) {
  table = lua_absindex(L, table);
  lua_pushstring(L, name);
  return lua_rawget(L, table);
}

const char *te_bind_string_option(lua_State *L, int opts, const char *key) {
  const char *value = NULL;
  if (te_bind_raw_field(L, opts, key) != LUA_TNIL) {
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "%s: not a string", key);
    value = lua_tostring(L, -1);
  }
  lua_pop(L, 1);
  return value;
}

lua_Integer te_bind_integer_option(lua_State *L, int opts, const char *key,
                                   lua_Integer max) {
  lua_Integer value = 0;
  if (te_bind_raw_field(L, opts, key) != LUA_TNIL) {
    if (!lua_isinteger(L, -1)) luaL_error(L, "%s: not an integer", key);
    value = lua_tointeger(L, -1);
    if (value < 1 || value > max) luaL_error(L, "%s: out of range", key);
  }
  lua_pop(L, 1);
  return value;
}

void te_bind_fn_option(lua_State *L, int opts, const char *key) {
  int type = te_bind_raw_field(L, opts, key);
  if (type != LUA_TNIL && type != LUA_TFUNCTION) {
    luaL_error(L, "%s: not a function", key);
  }
}
