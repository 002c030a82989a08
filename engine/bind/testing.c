/***
What only specs use; not part of a release build.
@module taskengine.core.testing
*/
#include "bind/bind.h"
#include "clock.h"

/***
How many blocks of te_alloc are live.
@function alloc_live
@treturn int
*/
static int testing_alloc_live(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)te_alloc_live());
  return 1;
}

/***
Makes the engine's clocks stand still.
@function clock_set_fake
@tparam[opt] table fake with `us` and `wall_ms`; nil goes back to the real
clocks
*/
static int testing_clock_set_fake(lua_State *L) {
  te_clock_fake fake;
  if (lua_isnoneornil(L, 1)) {
    te_clock_set_fake(NULL);
    return 0;
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "us");
  fake.us = (uint64_t)luaL_optinteger(L, -1, 0);
  lua_getfield(L, 1, "wall_ms");
  fake.wall_ms = luaL_optinteger(L, -1, 0);
  te_clock_set_fake(&fake);
  return 0;
}

static const luaL_Reg functions[] = {
    {"alloc_live", testing_alloc_live},
    {"clock_set_fake", testing_clock_set_fake},
    {NULL, NULL},
};

int te_bind_open_testing(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
