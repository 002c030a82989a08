/***
Which children wait for which outcomes. A child is an index and a serial.
@module taskengine.core.testing.awaited
*/
#include "awaited.h"
#include "bind/bind.h"

#define CLASS "taskengine.testing.awaited"

typedef struct handle {
  te_awaited *awaited;  // NULL once it is closed
} handle;

static te_awaited *check(lua_State *L) {
  const handle *h = luaL_checkudata(L, 1, CLASS);
  luaL_argcheck(L, h->awaited != NULL, 1, "is closed");
  return h->awaited;
}

static te_slice check_id(lua_State *L, int arg) {
  te_slice id = te_bind_check_slice(L, arg);
  luaL_argcheck(L, id.size == TE_ID_BYTES, arg, "not of the right length");
  return id;
}

static te_child_ref check_child(lua_State *L, int arg) {
  te_child_ref child = {(unsigned)luaL_checkinteger(L, arg),
                        (uint32_t)luaL_checkinteger(L, arg + 1)};
  return child;
}

/***
Makes an empty one.
@function new
@treturn awaited
*/
static int awaited_new(lua_State *L) {
  handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
  h->awaited = NULL;
  luaL_setmetatable(L, CLASS);
  h->awaited = te_awaited_new();
  return 1;
}

/***
Gives its memory back.
@function awaited:close
*/
static int awaited_close(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  if (h->awaited != NULL) te_awaited_free(h->awaited);
  h->awaited = NULL;
  return 0;
}

/***
Lets a child wait.
@function awaited:add
@tparam string id 20 characters
@tparam int index
@tparam int serial
@treturn boolean false when it waits already
*/
static int awaited_add(lua_State *L) {
  te_awaited *a = check(L);
  te_slice id = check_id(L, 2);
  lua_pushboolean(L, te_awaited_add(a, id, check_child(L, 3)));
  return 1;
}

/***
Ends a child's wait.
@function awaited:remove
@tparam string id 20 characters
@tparam int index
@tparam int serial
@treturn boolean whether another waits for it
*/
static int awaited_remove(lua_State *L) {
  te_awaited *a = check(L);
  te_slice id = check_id(L, 2);
  lua_pushboolean(L, te_awaited_remove(a, id, check_child(L, 3)));
  return 1;
}

/***
Ends all waits of a child.
@function awaited:remove_child
@tparam int index
@tparam int serial
*/
static int awaited_remove_child(lua_State *L) {
  te_awaited_remove_child(check(L), check_child(L, 2));
  return 0;
}

/***
Ends all waits.
@function awaited:clear
*/
static int awaited_clear(lua_State *L) {
  te_awaited_clear(check(L));
  return 0;
}

static void add_child(void *arg, te_child_ref child) {
  lua_State *L = arg;
  lua_pushfstring(L, "%d/%d", (int)child.index, (int)child.serial);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/***
An outcome has come.
@function awaited:finish
@tparam string id 20 characters
@treturn {string,...} who waited for it: index, slash, serial
*/
static int awaited_finish(lua_State *L) {
  te_awaited *a = check(L);
  te_slice id = check_id(L, 2);
  lua_newtable(L);
  te_awaited_end(a, id, add_child, L);
  return 1;
}

static const luaL_Reg methods[] = {
    {"close", awaited_close},
    {"add", awaited_add},
    {"remove", awaited_remove},
    {"remove_child", awaited_remove_child},
    {"clear", awaited_clear},
    {"finish", awaited_finish},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", awaited_close},
    {"__close", awaited_close},
    {NULL, NULL},
};

int te_bind_open_testing_awaited(lua_State *L) {
  static const luaL_Reg functions[] = {{"new", awaited_new}, {NULL, NULL}};
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
