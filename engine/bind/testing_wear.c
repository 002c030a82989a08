/***
Whether a child has done enough.
@module taskengine.core.testing.wear
*/
#include "bind/bind.h"
#include "wear.h"

#define CLASS "taskengine.testing.wear"

typedef struct handle {
  te_wear wear;
  te_wear_limits limits;
} handle;

static handle *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

static uint64_t check_number(lua_State *L, int arg) {
  return (uint64_t)luaL_checkinteger(L, arg);
}

/***
A child that has just started.
@function new
@tparam int tasks_max 0: no limit
@tparam int memory_bytes_max 0: no limit
@treturn wear
*/
static int wear_new(lua_State *L) {
  te_wear_limits limits = {check_number(L, 1), check_number(L, 2)};
  handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
  *h = (handle){.limits = limits};
  luaL_setmetatable(L, CLASS);
  return 1;
}

/***
Tasks have ended.
@function wear:note_ends
@tparam int count
*/
static int wear_note_ends(lua_State *L) {
  handle *h = check(L);
  for (uint64_t n = check_number(L, 2); n > 0; n--)
    te_wear_note_end(&h->wear);
  return 0;
}

/***
Whether its memory is to be looked at.
@function wear:is_to_look
@tparam int now_ms
@treturn boolean now
@treturn boolean now or later
*/
static int wear_is_to_look(lua_State *L) {
  const handle *h = check(L);
  bool now = te_wear_is_to_look_now(&h->wear, &h->limits, check_number(L, 2));
  lua_pushboolean(L, now);
  lua_pushboolean(L, te_wear_is_to_look(&h->wear, &h->limits));
  return 2;
}

/***
Its memory was looked at.
@function wear:note_memory
@tparam int bytes
@tparam int now_ms
*/
static int wear_note_memory(lua_State *L) {
  handle *h = check(L);
  te_wear_note_memory(&h->wear, &h->limits, check_number(L, 2),
                      check_number(L, 3));
  return 0;
}

/***
How many more tasks it may be given.
@function wear:left
@tparam int in_hand how many it has
@treturn int -1 for any number
*/
static int wear_left(lua_State *L) {
  const handle *h = check(L);
  size_t in_hand = (size_t)check_number(L, 2);
  uint64_t left = te_wear_left(&h->wear, &h->limits, in_hand);
  lua_pushinteger(L, (lua_Integer)left);
  return 1;
}

/***
Whether it has done enough.
@function wear:is_over
@tparam int in_hand
@tparam int open_slots
@treturn boolean
*/
static int wear_is_over(lua_State *L) {
  const handle *h = check(L);
  lua_pushboolean(L, te_wear_is_over(&h->wear, &h->limits,
                                     (size_t)check_number(L, 2),
                                     (size_t)check_number(L, 3)));
  return 1;
}

/***
Whether it soon will have.
@function wear:is_soon
@tparam number task_us
@tparam int start_ms
@treturn boolean
*/
static int wear_is_soon(lua_State *L) {
  const handle *h = check(L);
  lua_pushboolean(L,
                  te_wear_is_soon(&h->wear, &h->limits, luaL_checknumber(L, 2),
                                  check_number(L, 3)));
  return 1;
}

static const luaL_Reg methods[] = {
    {"note_ends", wear_note_ends},
    {"is_to_look", wear_is_to_look},
    {"note_memory", wear_note_memory},
    {"left", wear_left},
    {"is_over", wear_is_over},
    {"is_soon", wear_is_soon},
    {NULL, NULL},
};

int te_bind_open_testing_wear(lua_State *L) {
  static const luaL_Reg functions[] = {{"new", wear_new}, {NULL, NULL}};
  static const luaL_Reg meta[] = {{NULL, NULL}};  // it holds nothing
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
