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
Copies bytes with te_slice_dup, moves them with te_realloc, and says what
te_alloc_live counted on the way.
@function alloc_round
@tparam string bytes
@treturn string the bytes that came through
@treturn int blocks live meanwhile, beyond those before
*/
static int testing_alloc_round(lua_State *L) {
  te_slice bytes = te_bind_check_slice(L, 1);
  size_t before = te_alloc_live();
  char *copy = te_realloc(te_slice_dup(bytes), bytes.size * 2 + 1);
  void *empty = te_alloc(0);
  void *none = te_alloc_zero(0, 0);
  size_t live = te_alloc_live() - before;
  lua_pushlstring(L, copy, bytes.size);
  lua_pushinteger(L, (lua_Integer)live);
  te_free(none);
  te_free(empty);
  te_free(copy);
  te_free(NULL);
  return 2;
}

/***
The text of an error code.
@function strerror
@tparam int code
@treturn string
*/
static int testing_strerror(lua_State *L) {
  lua_pushstring(L, te_strerror((int)luaL_checkinteger(L, 1)));
  return 1;
}

/***
The name of an error code.
@function errname
@tparam int code
@treturn string
*/
static int testing_errname(lua_State *L) {
  lua_pushstring(L, te_errname((int)luaL_checkinteger(L, 1)));
  return 1;
}

/***
The project's own error codes.
@function errors
@treturn table from names to codes
*/
static int testing_errors(lua_State *L) {
  lua_newtable(L);
#define X(name, code, text)                                                    \
  lua_pushinteger(L, TE_##name);                                               \
  lua_setfield(L, -2, #name);
  TE_ERRORS(X)
#undef X
  return 1;
}

/***
Whether two slices hold the same bytes.
@function slice_equal
@tparam ?string a nil is a slice of NULL
@tparam ?string b
@treturn boolean
*/
static int testing_slice_equal(lua_State *L) {
  te_slice a = te_slice_str(NULL);
  te_slice b = te_slice_str(NULL);
  if (!lua_isnil(L, 1)) a = te_bind_check_slice(L, 1);
  if (!lua_isnil(L, 2)) b = te_bind_check_slice(L, 2);
  lua_pushboolean(L, te_slice_equal(a, b));
  return 1;
}

/***
What the engine's clocks show.
@function clock
@treturn int te_clock_ms
@treturn int te_clock_us
@treturn int te_clock_wall_ms
*/
static int testing_clock(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)te_clock_ms());
  lua_pushinteger(L, (lua_Integer)te_clock_us());
  lua_pushinteger(L, te_clock_wall_ms());
  return 3;
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

// What allocated for the Lua state until it was counted.
static struct {
  lua_Alloc before;
  void *before_arg;
  lua_Integer count;
} lua_calls;

static void *count_and_allocate(void *arg, void *block, size_t old,
                                size_t new) {
  (void)arg;
  lua_calls.count++;
  return lua_calls.before(lua_calls.before_arg, block, old, new);
}

/***
How often this Lua state's allocator was called since the first time that this
was asked.
@function lua_allocator_calls
@treturn int
*/
static int testing_lua_allocator_calls(lua_State *L) {
  if (lua_calls.before == NULL) {
    lua_calls.before = lua_getallocf(L, &lua_calls.before_arg);
    lua_setallocf(L, count_and_allocate, NULL);
  }
  lua_pushinteger(L, lua_calls.count);
  return 1;
}

static const luaL_Reg functions[] = {
    {"alloc_live", testing_alloc_live},
    {"alloc_round", testing_alloc_round},
    {"strerror", testing_strerror},
    {"errname", testing_errname},
    {"errors", testing_errors},
    {"slice_equal", testing_slice_equal},
    {"clock", testing_clock},
    {"clock_set_fake", testing_clock_set_fake},
    {"lua_allocator_calls", testing_lua_allocator_calls},
    {NULL, NULL},
};

int te_bind_open_testing(lua_State *L) {
  static const luaL_Reg openers[] = {
      {"awaited", te_bind_open_testing_awaited},
      {"buf", te_bind_open_testing_buf},
      {"claims", te_bind_open_testing_claims},
      {"codec", te_bind_open_testing_codec},
      {"dispatch", te_bind_open_testing_dispatch},
      {"frame", te_bind_open_testing_frame},
      {"hand", te_bind_open_testing_hand},
      {"handed", te_bind_open_testing_handed},
      {"heap", te_bind_open_testing_heap},
      {"held", te_bind_open_testing_held},
      {"id", te_bind_open_testing_id},
      {"list", te_bind_open_testing_list},
      {"log", te_bind_open_testing_log},
      {"map", te_bind_open_testing_map},
      {"news", te_bind_open_testing_news},
      {"peer", te_bind_open_testing_peer},
      {"redis", te_bind_open_testing_redis},
      {"report", te_bind_open_testing_report},
      {"request", te_bind_open_testing_request},
      {"roster", te_bind_open_testing_roster},
      {"scribe", te_bind_open_testing_scribe},
      {"spin", te_bind_open_testing_spin},
      {"wear", te_bind_open_testing_wear},
      {"wire", te_bind_open_testing_wire},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  for (const luaL_Reg *o = openers; o->name != NULL; o++) {
    o->func(L);
    lua_setfield(L, -2, o->name);
  }
  return 1;
}
