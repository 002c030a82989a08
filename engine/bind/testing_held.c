/***
Tasks that no child has been offered.
@module taskengine.core.testing.held
*/
#include "bind/bind.h"
#include "held.h"

#define CLASS "taskengine.testing.held"

static te_held *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

/***
None.
@function new
@treturn held
*/
static int held_new(lua_State *L) {
  te_held *h = lua_newuserdatauv(L, sizeof(*h), 0);
  te_held_init(h);
  luaL_setmetatable(L, CLASS);
  return 1;
}

static int held_free(lua_State *L) {
  te_held *h = check(L);
  te_list_each (link, &h->tasks)
    te_task_free(te_container_of(link, te_task, link));
  te_list_init(&h->tasks);
  return 0;
}

static te_task *new_task(lua_State *L) {
  te_task *t = te_task_new(te_bind_check_slice(L, 2), 1);
  luaL_argcheck(L, t != NULL, 2, "malformed");
  t->order = (uint64_t)luaL_checkinteger(L, 3);
  return t;
}

// The task of this order; NULL for nil.
static te_task *find(lua_State *L, int arg) {
  const te_held *h = check(L);
  if (lua_isnoneornil(L, arg)) return NULL;
  uint64_t order = (uint64_t)luaL_checkinteger(L, arg);
  te_task *t = te_held_first(h);
  while (t != NULL && t->order != order)
    t = te_held_next(h, t);
  luaL_argcheck(L, t != NULL, arg, "not held");
  return t;
}

static int push_order(lua_State *L, const te_task *t) {
  if (t == NULL) return 0;
  lua_pushinteger(L, (lua_Integer)t->order);
  return 1;
}

/***
Adds the newest.
@function held:add
@tparam string envelope
@tparam int order
*/
static int held_add(lua_State *L) {
  te_held_add(check(L), new_task(L));
  return 0;
}

/***
Adds one that comes back.
@function held:add_back
@tparam string envelope
@tparam int order
@tparam ?int near order of the one that came back before
*/
static int held_add_back(lua_State *L) {
  te_task *near = find(L, 4);
  te_held_add_back(check(L), new_task(L), near);
  return 0;
}

/***
Removes one.
@function held:remove
@tparam int order
*/
static int held_remove(lua_State *L) {
  te_task *t = find(L, 2);
  luaL_argcheck(L, t != NULL, 2, "not held");
  te_held_remove(check(L), t);
  te_task_free(t);
  return 0;
}

/***
The order of the first.
@function held:first
@treturn ?int
*/
static int held_first(lua_State *L) {
  return push_order(L, te_held_first(check(L)));
}

/***
The order of the first of the last ones.
@function held:near_end
@tparam int max how many these are
@treturn ?int
*/
static int held_near_end(lua_State *L) {
  size_t max = (size_t)luaL_checkinteger(L, 2);
  return push_order(L, te_held_near_end(check(L), max));
}

/***
All of them, and since when.
@function held:list
@treturn {int,...} their orders
@treturn int how many
@treturn int bytes of their envelopes
@treturn int ms, as @{set_since} has it; 0 when there is none
*/
static int held_list(lua_State *L) {
  const te_held *h = check(L);
  lua_Integer n = 0;
  lua_newtable(L);
  for (const te_task *t = te_held_first(h); t != NULL; t = te_held_next(h, t)) {
    push_order(L, t);
    lua_rawseti(L, -2, ++n);
  }
  lua_pushinteger(L, (lua_Integer)h->count);
  lua_pushinteger(L, (lua_Integer)h->bytes);
  lua_pushinteger(L, (lua_Integer)h->since_ms);
  return 4;
}

/***
Notes since when some are held.
@function held:set_since
@tparam int ms
*/
static int held_set_since(lua_State *L) {
  check(L)->since_ms = (uint64_t)luaL_checkinteger(L, 2);
  return 0;
}

static const luaL_Reg methods[] = {
    {"add", held_add},
    {"add_back", held_add_back},
    {"remove", held_remove},
    {"first", held_first},
    {"list", held_list},
    {"near_end", held_near_end},
    {"set_since", held_set_since},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {{"__gc", held_free}, {NULL, NULL}};

int te_bind_open_testing_held(lua_State *L) {
  static const luaL_Reg functions[] = {{"new", held_new}, {NULL, NULL}};
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
