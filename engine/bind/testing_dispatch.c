/***
Which child gets the next task.
@module taskengine.core.testing.dispatch
*/
#include <string.h>

#include "bind/bind.h"
#include "bind/testing_claims.h"
#include "dispatch.h"

#define CLASS     "taskengine.testing.dispatch"
#define SEATS_MAX 8

// What its owner would say of a child.
typedef struct child {
  bool is_ready;
  size_t limit;
} child;

// Its user value: the claims.
typedef struct handle {
  te_dispatch dispatch;
  child children[SEATS_MAX];
  bool is_crowded;
} handle;

static bool is_ready(void *arg, unsigned index) {
  const handle *h = arg;
  return h->children[index].is_ready;
}

static size_t limit_room(void *arg, unsigned index, size_t room) {
  const handle *h = arg;
  size_t limit = h->children[index].limit;
  return room < limit ? room : limit;
}

static bool is_crowded(void *arg) {
  const handle *h = arg;
  return h->is_crowded;
}

static handle *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

static unsigned check_child(lua_State *L, int arg) {
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n >= 0 && n < check(L)->dispatch.o.seats, arg,
                "out of range");
  return (unsigned)n;
}

static uint64_t check_time(lua_State *L, int arg) {
  return (uint64_t)luaL_optinteger(L, arg, 0);
}

/***
For children of which none is ready.
@function new
@tparam claims claims
@tparam int processes
@tparam int concurrency
@tparam int seats
@treturn dispatch
*/
static int dispatch_new(lua_State *L) {
  te_dispatch_options o = {.claims = te_bind_check_claims(L, 1),
                           .processes = (unsigned)luaL_checkinteger(L, 2),
                           .concurrency = (unsigned)luaL_checkinteger(L, 3),
                           .seats = (unsigned)luaL_checkinteger(L, 4),
                           .is_ready = is_ready,
                           .limit = limit_room,
                           .is_crowded = is_crowded};
  luaL_argcheck(L, o.seats <= SEATS_MAX, 4, "too many");
  handle *h = lua_newuserdatauv(L, sizeof(*h), 1);
  memset(h, 0, sizeof(*h));
  o.arg = h;
  te_dispatch_init(&h->dispatch, &o);
  luaL_setmetatable(L, CLASS);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

static void free_tasks(te_list *list) {
  te_list_each (link, list)
    te_task_free(te_container_of(link, te_task, link));
}

static int dispatch_free(lua_State *L) {
  te_dispatch *d = &check(L)->dispatch;
  free_tasks(&d->held.tasks);
  for (unsigned i = 0; i < d->o.seats; i++)
    free_tasks(&d->hands[i].tasks);
  te_dispatch_free(d);
  return 0;
}

/***
Says of a child that it may get tasks.
@function dispatch:set_ready
@tparam int child
@tparam[opt] int limit how many more; any number when missing
*/
static int dispatch_set_ready(lua_State *L) {
  child *c = &check(L)->children[check_child(L, 2)];
  c->is_ready = true;
  c->limit = lua_isnoneornil(L, 3) ? SIZE_MAX : (size_t)luaL_checkinteger(L, 3);
  return 0;
}

/***
Says whether there are more children than usual.
@function dispatch:set_crowded
@tparam boolean whether
*/
static int dispatch_set_crowded(lua_State *L) {
  check(L)->is_crowded = lua_toboolean(L, 2);
  return 0;
}

/***
Adds a task.
@function dispatch:add
@tparam string envelope
*/
static int dispatch_add(lua_State *L) {
  te_dispatch *d = &check(L)->dispatch;
  te_task *t = te_task_new(te_bind_check_slice(L, 2), 1);
  luaL_argcheck(L, t != NULL, 2, "malformed");
  te_dispatch_add(d, t);
  return 0;
}

/***
How many more it would take.
@function dispatch:room
@treturn int
*/
static int dispatch_room(lua_State *L) {
  size_t n = te_dispatch_room(&check(L)->dispatch);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/***
Offers the next task.
@function dispatch:offer
@tparam[opt=0] int now_ms
@treturn ?int to which child
@treturn ?string its field
@treturn ?int token
*/
static int dispatch_offer(lua_State *L) {
  const te_task *t = te_dispatch_offer(&check(L)->dispatch, check_time(L, 2));
  if (t == NULL) return 0;
  lua_pushinteger(L, t->child);
  lua_pushlstring(L, t->field, TE_FIELD_BYTES);
  te_bind_push_token(L, t->token);
  return 3;
}

static te_task *check_task(lua_State *L, unsigned index, int arg) {
  te_hand *hand = &check(L)->dispatch.hands[index];
  te_task *t = te_hand_find(hand, te_bind_check_token(L, arg));
  luaL_argcheck(L, t != NULL, arg, "not with that child");
  return t;
}

/***
A task has ended.
@function dispatch:finish
@tparam int child
@tparam int token
@tparam[opt=0] int now_ms
@tparam[opt] int run_us as of learn
*/
static int dispatch_finish(lua_State *L) {
  unsigned index = check_child(L, 2);
  te_task *t = check_task(L, index, 3);
  te_dispatch *d = &check(L)->dispatch;
  if (!lua_isnoneornil(L, 5))
    te_dispatch_learn(d, t, (uint32_t)luaL_checkinteger(L, 5));
  te_hand_end(&d->hands[index], t, check_time(L, 4));
  te_claims_clear(d->o.claims, t->token);
  te_task_free(t);
  return 0;
}

/***
A task waits for another one.
@function dispatch:wait
@tparam int child
@tparam int token
*/
static int dispatch_wait(lua_State *L) {
  unsigned index = check_child(L, 2);
  te_task *t = check_task(L, index, 3);
  te_hand_set_waits(&check(L)->dispatch.hands[index], t, true);
  return 0;
}

/***
Takes back what a child has not begun.
@function dispatch:withdraw
@tparam int child
@treturn {string,...} the fields of all that is held then, in order
*/
static int dispatch_withdraw(lua_State *L) {
  te_dispatch *d = &check(L)->dispatch;
  te_dispatch_withdraw(d, check_child(L, 2));
  lua_newtable(L);
  lua_Integer n = 0;
  for (const te_task *t = te_held_first(&d->held); t != NULL;
       t = te_held_next(&d->held, t)) {
    lua_pushlstring(L, t->field, TE_FIELD_BYTES);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/***
Whether one child alone has something to do, and that is over soon.
@function dispatch:is_brief
@treturn boolean
*/
static int dispatch_is_brief(lua_State *L) {
  lua_pushboolean(L, te_dispatch_is_brief(&check(L)->dispatch));
  return 1;
}

/***
Whether a child that has nothing could have some of this one's tasks.
@function dispatch:is_uneven
@tparam int child
@tparam int run_us of the last one
@treturn boolean
*/
static int dispatch_is_uneven(lua_State *L) {
  const te_dispatch *d = &check(L)->dispatch;
  uint32_t run_us = (uint32_t)luaL_checkinteger(L, 3);
  lua_pushboolean(L, te_dispatch_is_uneven(d, check_child(L, 2), run_us));
  return 1;
}

/***
Whether a child's tasks may keep others waiting.
@function dispatch:may_stall
@tparam int child
@treturn boolean
*/
static int dispatch_may_stall(lua_State *L) {
  const te_dispatch *d = &check(L)->dispatch;
  lua_pushboolean(L, te_dispatch_may_stall(d, check_child(L, 2)));
  return 1;
}

/***
Learns how long a task ran that is not known any more.
@function dispatch:learn
@tparam int run_us
@treturn number the mean of recent ones
*/
static int dispatch_learn(lua_State *L) {
  te_dispatch *d = &check(L)->dispatch;
  te_dispatch_learn(d, NULL, (uint32_t)luaL_checkinteger(L, 2));
  lua_pushnumber(L, d->mean_us);
  return 1;
}

static const luaL_Reg methods[] = {
    {"set_ready", dispatch_set_ready},
    {"set_crowded", dispatch_set_crowded},
    {"add", dispatch_add},
    {"room", dispatch_room},
    {"offer", dispatch_offer},
    {"finish", dispatch_finish},
    {"wait", dispatch_wait},
    {"withdraw", dispatch_withdraw},
    {"is_brief", dispatch_is_brief},
    {"is_uneven", dispatch_is_uneven},
    {"may_stall", dispatch_may_stall},
    {"learn", dispatch_learn},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {{"__gc", dispatch_free}, {NULL, NULL}};

int te_bind_open_testing_dispatch(lua_State *L) {
  static const luaL_Reg functions[] = {{"new", dispatch_new}, {NULL, NULL}};
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
