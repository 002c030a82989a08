/***
Requests to end tasks, as engine/request.h has them.
@module taskengine.core.testing.request
*/
#include "bind/bind.h"
#include "request.h"

#define CLASS "taskengine.testing.requests"

static te_requests *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

static te_slice check_field(lua_State *L) {
  te_slice field = te_bind_check_slice(L, 2);
  luaL_argcheck(L, field.size == TE_FIELD_BYTES, 2, "not a field");
  return field;
}

/***
Reads one.
@function read
@tparam string bytes
@treturn[1] string field
@treturn[1] boolean is_order
@return[2] nil
@treturn[2] string message
@treturn[2] string its code
*/
static int request_read(lua_State *L) {
  te_request request;
  int rc = te_request_read(te_bind_check_slice(L, 1), &request);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushlstring(L, request.field.data, request.field.size);
  lua_pushboolean(L, request.is_order);
  return 2;
}

/***
None is kept.
@function new
@treturn requests
*/
static int request_new(lua_State *L) {
  te_requests_init(lua_newuserdatauv(L, sizeof(te_requests), 0));
  luaL_setmetatable(L, CLASS);
  return 1;
}

/***
One comes before its task.
@function requests:keep
@tparam string field
*/
static int requests_keep(lua_State *L) {
  te_requests_keep(check(L), check_field(L));
  return 0;
}

/***
A task comes.
@function requests:take
@tparam string field
@treturn boolean whether there is one for it
*/
static int requests_take(lua_State *L) {
  lua_pushboolean(L, te_requests_take(check(L), check_field(L)));
  return 1;
}

/***
Forgets all.
@function requests:clear
*/
static int requests_clear(lua_State *L) {
  te_requests_clear(check(L));
  return 0;
}

static const luaL_Reg methods[] = {
    {"keep", requests_keep},
    {"take", requests_take},
    {"clear", requests_clear},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", requests_clear},
    {"__close", requests_clear},
    {NULL, NULL},
};

int te_bind_open_testing_request(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"read", request_read},
      {"new", request_new},
      {NULL, NULL},
  };
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  lua_pushinteger(L, TE_REQUESTS_MAX);
  lua_setfield(L, -2, "MAX");
  return 1;
}
