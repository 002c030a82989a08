/***
The numbers of tasks that are handed over, as engine/handed.h has them.
@module taskengine.core.testing.handed
*/
#include "bind/bind.h"
#include "handed.h"

#define CLASS "taskengine.testing.handed"

static te_handed *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

/***
One to which none was handed over.
@function new
@treturn handed
*/
static int handed_new(lua_State *L) {
  te_handed_init(lua_newuserdatauv(L, sizeof(te_handed), 0));
  luaL_setmetatable(L, CLASS);
  return 1;
}

/***
A task came.
@function handed:came
@tparam int number
@treturn string `"next"`, `"later"` or `"old"`
*/
static int handed_came(lua_State *L) {
  static const char *const verdicts[] = {
      [TE_HANDED_NEXT] = "next",
      [TE_HANDED_LATER] = "later",
      [TE_HANDED_OLD] = "old",
  };
  uint32_t number = (uint32_t)luaL_checkinteger(L, 2);
  lua_pushstring(L, verdicts[te_handed_came(check(L), number)]);
  return 1;
}

/***
Redis says which was the last.
@function handed:heard
@tparam int number
@treturn boolean false when one is missing
*/
static int handed_heard(lua_State *L) {
  uint32_t number = (uint32_t)luaL_checkinteger(L, 2);
  lua_pushboolean(L, te_handed_heard(check(L), number));
  return 1;
}

/***
Redis is asked what is held.
@function handed:ask
*/
static int handed_ask(lua_State *L) {
  te_handed_ask(check(L));
  return 0;
}

/***
It answers.
@function handed:answered
@tparam string text the number of the last
*/
static int handed_answered(lua_State *L) {
  te_handed_answered(check(L), te_bind_check_slice(L, 2));
  return 0;
}

static const luaL_Reg methods[] = {
    {"came", handed_came}, {"heard", handed_heard},
    {"ask", handed_ask},   {"answered", handed_answered},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {{NULL, NULL}};  // it holds no memory

int te_bind_open_testing_handed(lua_State *L) {
  static const luaL_Reg functions[] = {{"new", handed_new}, {NULL, NULL}};
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
