/***
Which children a crew has.
@module taskengine.core.testing.roster
*/
#include "bind/bind.h"
#include "roster.h"

#define CLASS "taskengine.testing.roster"

static te_roster *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

static unsigned check_index(lua_State *L, int arg) {
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n >= 0 && n < check(L)->seats, arg, "out of range");
  return (unsigned)n;
}

static int push_count(lua_State *L, unsigned n) {
  lua_pushinteger(L, n);
  return 1;
}

static int push_truth(lua_State *L, bool truth) {
  lua_pushboolean(L, truth);
  return 1;
}

/***
An empty roster.
@function new
@tparam int processes
@treturn roster
*/
static int roster_new(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n > 0 && n <= TE_PROCESSES_MAX, 1, "out of range");
  te_roster *r = lua_newuserdatauv(L, sizeof(*r), 0);
  r->members = NULL;
  luaL_setmetatable(L, CLASS);
  te_roster_init(r, (unsigned)n);
  return 1;
}

static int roster_free(lua_State *L) {
  te_roster_free(check(L));
  check(L)->members = NULL;
  return 0;
}

/***
Starts a child on the first free seat.
@function roster:start
@treturn ?int its index; nil when no seat is free
@treturn ?int its serial
*/
static int roster_start(lua_State *L) {
  te_roster *r = check(L);
  unsigned seat = te_roster_free_seat(r);
  if (seat == TE_ROSTER_NO_SEAT) return 0;
  te_child_ref ref = te_roster_seat(r, seat);
  lua_pushinteger(L, ref.index);
  lua_pushinteger(L, ref.serial);
  return 2;
}

/***
Notes of a child that it is ready, due to leave, or leaving.
@function roster:note
@tparam int index
@tparam string what `"ready"`, `"due"` or `"leaving"`
*/
static int roster_note(lua_State *L) {
  static const char *const names[] = {"ready", "due", "leaving", NULL};
  te_member *m = &check(L)->members[check_index(L, 2)];
  bool *const flags[] = {&m->is_ready, &m->is_due, &m->is_leaving};
  *flags[luaL_checkoption(L, 3, NULL, names)] = true;
  return 0;
}

/***
A child is gone.
@function roster:leave_seat
@tparam int index
*/
static int roster_leave_seat(lua_State *L) {
  te_roster_leave_seat(check(L), check_index(L, 2));
  return 0;
}

/***
How many are to be started.
@function roster:missing
@treturn int
*/
static int roster_missing(lua_State *L) {
  return push_count(L, te_roster_missing(check(L)));
}

/***
How many leave.
@function roster:leaving
@treturn int
*/
static int roster_leaving(lua_State *L) {
  return push_count(L, te_roster_leaving(check(L)));
}

/***
How many are ready beyond those that are to be.
@function roster:spare
@treturn int
*/
static int roster_spare(lua_State *L) {
  return push_count(L, te_roster_spare(check(L)));
}

/***
Whether another could come for one that leaves.
@function roster:can_replace
@treturn boolean
*/
static int roster_can_replace(lua_State *L) {
  return push_truth(L, te_roster_can_replace(check(L)));
}

/***
Whether a child may get tasks.
@function roster:is_ready
@tparam int index
@treturn boolean
*/
static int roster_is_ready(lua_State *L) {
  return push_truth(L, te_roster_is_ready(check(L), check_index(L, 2)));
}

/***
Whether a child leaves.
@function roster:is_leaving
@tparam int index
@treturn boolean
*/
static int roster_is_leaving(lua_State *L) {
  return push_truth(L, te_roster_is_leaving(check(L), check_index(L, 2)));
}

/***
Whether a reload waits for a child.
@function roster:is_probe
@tparam int index
@treturn boolean
*/
static int roster_is_probe(lua_State *L) {
  return push_truth(L, te_roster_is_probe(check(L), check_index(L, 2)));
}

/***
Whether it is still the same child.
@function roster:has
@tparam int index
@tparam int serial
@treturn boolean
*/
static int roster_has(lua_State *L) {
  te_child_ref ref = {(unsigned)luaL_checkinteger(L, 2),
                      (uint32_t)luaL_checkinteger(L, 3)};
  return push_truth(L, te_roster_has(check(L), ref));
}

/***
Begins a reload.
@function roster:reload
*/
static int roster_reload(lua_State *L) {
  te_roster_reload(check(L));
  return 0;
}

/***
Its probe has loaded the files, or could not.
@function roster:note_probe
@tparam boolean is_loaded
*/
static int roster_note_probe(lua_State *L) {
  te_roster *r = check(L);
  if (lua_toboolean(L, 2)) {
    te_roster_note_loaded(r);
  } else {
    te_roster_note_failed(r);
  }
  return 0;
}

/***
Whether a child is of before the reload, and not needed any more.
@function roster:may_leave
@tparam int index
@treturn boolean
*/
static int roster_may_leave(lua_State *L) {
  return push_truth(L, te_roster_may_leave(check(L), check_index(L, 2)));
}

/***
Whether all that are of before the reload have left; true once.
@function roster:check_replaced
@treturn boolean
*/
static int roster_check_replaced(lua_State *L) {
  return push_truth(L, te_roster_check_replaced(check(L)));
}

static const luaL_Reg methods[] = {
    {"start", roster_start},
    {"note", roster_note},
    {"leave_seat", roster_leave_seat},
    {"missing", roster_missing},
    {"leaving", roster_leaving},
    {"spare", roster_spare},
    {"can_replace", roster_can_replace},
    {"is_ready", roster_is_ready},
    {"is_leaving", roster_is_leaving},
    {"is_probe", roster_is_probe},
    {"has", roster_has},
    {"reload", roster_reload},
    {"note_probe", roster_note_probe},
    {"may_leave", roster_may_leave},
    {"check_replaced", roster_check_replaced},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", roster_free},
    {"__close", roster_free},
    {NULL, NULL},
};

int te_bind_open_testing_roster(lua_State *L) {
  static const luaL_Reg functions[] = {{"new", roster_new}, {NULL, NULL}};
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
