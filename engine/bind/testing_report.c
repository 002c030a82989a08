/***
Ended tasks as the arguments of te1_finish.
@module taskengine.core.testing.report
*/
#include "bind/bind.h"
#include "report.h"

#define CLASS "taskengine.testing.report"

typedef struct handle {
  te_list ended;
  te_list told;
} handle;

static handle *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

static te_task *task_of(te_list *link) {
  return te_container_of(link, te_task, link);
}

/***
A report of nothing.
@function new
@treturn report
*/
static int report_new(lua_State *L) {
  handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
  te_list_init(&h->ended);
  te_list_init(&h->told);
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
  handle *h = check(L);
  te_slice envelope = te_bind_check_slice(L, 2);
  te_slice end = te_bind_check_slice(L, 3);
  te_slice record = {"", 0};
  if (!lua_isnoneornil(L, 4)) record = te_bind_check_slice(L, 4);
  luaL_argcheck(L, end.size == 1, 3, "not a letter");
  te_task *t = te_task_new(envelope, 1);
  luaL_argcheck(L, t != NULL, 2, "malformed");
  te_task_end(t, (te_end)end.data[0], record);
  te_list_add_last(&h->ended, &t->link);
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
  handle *h = check(L);
  lua_pushinteger(L, (lua_Integer)te_report_take(&h->ended, &h->told));
  lua_newtable(L);
  te_report_write(&h->told, add_arg, L);
  return 2;
}

static void free_all(te_list *list) {
  te_list_each (link, list) {
    te_list_remove(link);
    te_task_free(task_of(link));
  }
}

/***
Redis has confirmed the call.
@function report:confirm
@treturn int how many tasks are left to be told
*/
static int report_confirm(lua_State *L) {
  handle *h = check(L);
  free_all(&h->told);
  lua_Integer n = 0;
  te_list_each (link, &h->ended)
    n++;
  lua_pushinteger(L, n);
  return 1;
}

/***
Nobody knows whether Redis has got the call: it is to be repeated.
@function report:lose
*/
static int report_lose(lua_State *L) {
  handle *h = check(L);
  te_list *link;
  while ((link = te_list_last(&h->told)) != NULL) {
    te_list_remove(link);
    te_list_add_first(&h->ended, link);
  }
  return 0;
}

static int report_free(lua_State *L) {
  handle *h = check(L);
  free_all(&h->ended);
  free_all(&h->told);
  return 0;
}

static const luaL_Reg methods[] = {
    {"add", report_add},
    {"write", report_write},
    {"confirm", report_confirm},
    {"lose", report_lose},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", report_free},
    {"__close", report_free},
    {NULL, NULL},
};

int te_bind_open_testing_report(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"new", report_new},
      {"TASKS_MAX", NULL},
      {"BYTES_MAX", NULL},
      {NULL, NULL},
  };
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  lua_pushinteger(L, TE_REPORT_TASKS_MAX);
  lua_setfield(L, -2, "TASKS_MAX");
  lua_pushinteger(L, (lua_Integer)TE_REPORT_BYTES_MAX);
  lua_setfield(L, -2, "BYTES_MAX");
  return 1;
}
