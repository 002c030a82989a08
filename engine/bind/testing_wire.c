/***
What master and child say, as bytes.
@module taskengine.core.testing.wire
*/
#include "bind/bind.h"
#include "bind/testing_claims.h"
#include "wire.h"

static lua_Integer integer_field(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  lua_Integer n = luaL_optinteger(L, -1, 0);
  lua_pop(L, 1);
  return n;
}

/***
Writes a frame.
@function frame
@tparam table message `kind` (a letter), `token`, `request`, `number`, `byte`,
`payload`
@treturn[1] string the frame, its length in front
@return[2] nil
@treturn[2] string message
@treturn[2] string its code
*/
static int wire_frame(lua_State *L) {
  te_wire w = {0};
  te_buf out = {0};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_getfield(L, 1, "payload");
  te_slice payload = {"", 0};
  if (!lua_isnil(L, 2)) payload = te_bind_check_slice(L, 2);
  lua_getfield(L, 1, "kind");
  w.kind = (te_wire_kind)(unsigned char)*luaL_checkstring(L, 3);
  lua_getfield(L, 1, "token");
  if (!lua_isnil(L, 4)) w.token = te_bind_check_token(L, 4);
  w.request = (uint32_t)integer_field(L, "request");
  w.number = (uint32_t)integer_field(L, "number");
  w.byte = (uint8_t)integer_field(L, "byte");
  w.payload = payload;
  int rc = te_wire_add(&out, &w);
  te_slice bytes = te_buf_slice(&out);
  if (rc == 0) lua_pushlstring(L, bytes.data, bytes.size);
  te_buf_free(&out);
  return rc < 0 ? te_bind_fail(L, rc) : 1;
}

/***
Reads what is in a frame.
@function read
@tparam string bytes
@treturn[1] table as for @{frame}, zeros and all
@return[2] nil
@treturn[2] string message
@treturn[2] string its code
*/
static int wire_read(lua_State *L) {
  te_wire w;
  int rc = te_wire_read(te_bind_check_slice(L, 1), &w);
  if (rc < 0) return te_bind_fail(L, rc);
  char kind = (char)w.kind;
  lua_newtable(L);
  lua_pushlstring(L, &kind, 1);
  lua_setfield(L, -2, "kind");
  te_bind_push_token(L, w.token);
  lua_setfield(L, -2, "token");
  lua_pushinteger(L, w.request);
  lua_setfield(L, -2, "request");
  lua_pushinteger(L, w.number);
  lua_setfield(L, -2, "number");
  lua_pushinteger(L, w.byte);
  lua_setfield(L, -2, "byte");
  lua_pushlstring(L, w.payload.data, w.payload.size);
  lua_setfield(L, -2, "payload");
  return 1;
}

int te_bind_open_testing_wire(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"frame", wire_frame},
      {"read", wire_read},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
