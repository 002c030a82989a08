/***
Lists of the numbers from 1 to 64, each at most once.
@module taskengine.core.testing.list
*/
#include "bind/bind.h"
#include "list.h"

#define CLASS     "taskengine.testing.list"
#define ITEMS_MAX 64

typedef struct item {
  int name;
  te_list link;
} item;

typedef struct list {
  te_list head;
  item items[ITEMS_MAX];
} list;

static te_list *check(lua_State *L) {
  list *l = luaL_checkudata(L, 1, CLASS);
  return &l->head;
}

static te_list *check_link(lua_State *L) {
  list *l = luaL_checkudata(L, 1, CLASS);
  lua_Integer name = luaL_checkinteger(L, 2);
  luaL_argcheck(L, name >= 1 && name <= ITEMS_MAX, 2, "not from 1 to 64");
  return &l->items[name - 1].link;
}

static int push_item(lua_State *L, const te_list *link) {
  if (link == NULL) return 0;
  lua_pushinteger(L, te_container_of_const(link, item, link)->name);
  return 1;
}

/***
An empty list.
@function new
@treturn list
*/
static int list_new(lua_State *L) {
  list *l = lua_newuserdatauv(L, sizeof(*l), 0);
  te_list_init(&l->head);
  for (int i = 0; i < ITEMS_MAX; i++) {
    l->items[i].name = i + 1;
    te_list_init(&l->items[i].link);
  }
  luaL_setmetatable(L, CLASS);
  return 1;
}

/***
Adds a number in front.
@function list:add_first
@tparam int number
*/
static int list_add_first(lua_State *L) {
  te_list_add_first(check(L), check_link(L));
  return 0;
}

/***
Adds a number at the end.
@function list:add_last
@tparam int number
*/
static int list_add_last(lua_State *L) {
  te_list_add_last(check(L), check_link(L));
  return 0;
}

/***
Takes a number out; one that is not there does no harm.
@function list:remove
@tparam int number
*/
static int list_remove(lua_State *L) {
  te_list_remove(check_link(L));
  return 0;
}

/***
Takes the number in front out.
@function list:take_first
@treturn ?int nil when the list is empty
*/
static int list_take_first(lua_State *L) {
  te_list *link = te_list_first(check(L));
  if (link != NULL) te_list_remove(link);
  return push_item(L, link);
}

/***
The numbers at both ends.
@function list:ends
@treturn ?int the first
@treturn ?int the last
@treturn boolean whether the list is empty
*/
static int list_ends(lua_State *L) {
  const te_list *l = check(L);
  lua_settop(L, 1);
  if (push_item(L, te_list_first(l)) == 0) lua_pushnil(L);
  if (push_item(L, te_list_last(l)) == 0) lua_pushnil(L);
  lua_pushboolean(L, te_list_is_empty(l));
  return 3;
}

/***
Visits all numbers, and takes the odd ones out on the way.
@function list:drop_odd
@treturn {int,...} those visited
*/
static int list_drop_odd(lua_State *L) {
  te_list *l = check(L);
  lua_newtable(L);
  lua_Integer count = 0;
  te_list_each (link, l) {
    push_item(L, link);
    if (lua_tointeger(L, -1) % 2 != 0) te_list_remove(link);
    lua_seti(L, -2, ++count);
  }
  return 1;
}

static const luaL_Reg methods[] = {
    {"add_first", list_add_first},
    {"add_last", list_add_last},
    {"remove", list_remove},
    {"take_first", list_take_first},
    {"ends", list_ends},
    {"drop_odd", list_drop_odd},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {{NULL, NULL}};  // it holds no memory

static const luaL_Reg functions[] = {
    {"new", list_new},
    {NULL, NULL},
};

int te_bind_open_testing_list(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
