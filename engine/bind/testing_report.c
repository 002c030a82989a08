/***
Ended tasks as the arguments of te1_finish, and the ledger that they are in.
@module taskengine.core.testing.report
*/
#include "bind/bind.h"
#include "ledger.h"
#include "report.h"

#define CLASS "taskengine.testing.report"

static te_ledger *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

/***
A report of nothing.
@function new
@treturn report
*/
static int report_new(lua_State *L) {
  // No task here has a claim.
  te_ledger_init(lua_newuserdatauv(L, sizeof(te_ledger), 0), NULL);
  luaL_setmetatable(L, CLASS);
  return 1;
}

/***
Adds an ended task.
@function report:add
@tparam string envelope
@tparam string operation of te1_finish
@tparam ?string record
*/
static int report_add(lua_State *L) {
  te_ledger *l = check(L);
  te_slice envelope = te_bind_check_slice(L, 2);
  te_slice end = te_bind_check_slice(L, 3);
  te_slice record = {"", 0};
  if (!lua_isnoneornil(L, 4)) record = te_bind_check_slice(L, 4);
  luaL_argcheck(L, end.size == 1, 3, "not a letter");
  te_task *t = te_task_new(envelope, 1);
  luaL_argcheck(L, t != NULL, 2, "malformed");
  te_task_end(t, (te_end)end.data[0], record);
  te_ledger_hold(l, t);
  te_ledger_end(l, t);
  return 0;
}

static void add_arg(void *arg, te_slice s) {
  lua_State *L = arg;
  lua_pushlstring(L, s.data, s.size);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/***
Takes what goes into one call, and writes it.
@function report:write
@treturn int how many arguments were announced
@treturn {string,...} the arguments
*/
static int report_write(lua_State *L) {
  te_ledger *l = check(L);
  lua_pushinteger(L, (lua_Integer)te_ledger_tell(l, 0));
  lua_newtable(L);
  te_ledger_write(l, add_arg, L);
  return 2;
}

/***
Redis has confirmed the call.
@function report:confirm
@treturn int how many tasks are left to be told
@treturn int how many it was
*/
static int report_confirm(lua_State *L) {
  size_t outcomes;
  size_t told = te_ledger_forget_told(check(L));
  lua_pushinteger(L, (lua_Integer)te_ledger_untold(check(L), &outcomes));
  lua_pushinteger(L, (lua_Integer)told);
  return 2;
}

/***
Nobody knows whether Redis has got the call: it is to be repeated.
@function report:lose
*/
static int report_lose(lua_State *L) {
  te_ledger_tell_again(check(L));
  return 0;
}

/***
How many tasks are yet to be told, or their telling to be confirmed.
@function report:untold
@treturn int
@treturn int how many of them with an outcome
*/
static int report_untold(lua_State *L) {
  size_t outcomes;
  lua_pushinteger(L, (lua_Integer)te_ledger_untold(check(L), &outcomes));
  lua_pushinteger(L, (lua_Integer)outcomes);
  return 2;
}

/***
Whether a task is there.
@function report:holds
@tparam string field
@treturn boolean
*/
static int report_holds(lua_State *L) {
  lua_pushboolean(L, te_ledger_holds(check(L), te_bind_check_slice(L, 2)));
  return 1;
}

/***
The lease is lost: all tasks are somebody else's.
@function report:drop
*/
static int report_drop(lua_State *L) {
  te_ledger_drop(check(L));
  return 0;
}

static const luaL_Reg methods[] = {
    {"add", report_add},         {"write", report_write},
    {"confirm", report_confirm}, {"lose", report_lose},
    {"untold", report_untold},   {"holds", report_holds},
    {"drop", report_drop},       {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", report_drop},
    {"__close", report_drop},
    {NULL, NULL},
};

int te_bind_open_testing_report(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"new", report_new}, {"TASKS_MAX", NULL}, {"COSTLY_MAX", NULL},
      {"BYTES_MAX", NULL}, {NULL, NULL},
  };
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  lua_pushinteger(L, TE_REPORT_TASKS_MAX);
  lua_setfield(L, -2, "TASKS_MAX");
  lua_pushinteger(L, TE_REPORT_COSTLY_MAX);
  lua_setfield(L, -2, "COSTLY_MAX");
  lua_pushinteger(L, (lua_Integer)TE_REPORT_BYTES_MAX);
  lua_setfield(L, -2, "BYTES_MAX");
  return 1;
}
