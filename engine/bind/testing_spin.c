/***
Waiting awake, as engine/spin.h has it.
@module taskengine.core.testing.spin
*/
#include "bind/bind.h"
#include "spin.h"

#define CLASS "taskengine.testing.spin"

static te_spin *check(lua_State *L) {
  return *(te_spin **)luaL_checkudata(L, 1, CLASS);
}

/***
One that knows of no answer yet.
@function new
@tparam int cores
@treturn spin
*/
static int spin_new(lua_State *L) {
  unsigned cores = (unsigned)luaL_checkinteger(L, 1);
  te_spin **slot = lua_newuserdatauv(L, sizeof(te_spin *), 0);
  *slot = te_alloc_zero(1, sizeof(te_spin));
  te_spin_init(*slot, te_bind_loop(L), cores);
  luaL_setmetatable(L, CLASS);
  return 1;
}

static void on_close(uv_handle_t *handle) {
  te_free(handle->data);
}

/***
Leaves the loop; it is not used any more.
@function spin:close
*/
static int spin_close(lua_State *L) {
  te_spin *s = check(L);
  s->idle.data = s;
  uv_close((uv_handle_t *)&s->idle, on_close);
  return 0;
}

/***
A question is asked.
@function spin:start
*/
static int spin_start(lua_State *L) {
  te_spin_begin(check(L));
  return 0;
}

/***
It is answered.
@function spin:stop
*/
static int spin_stop(lua_State *L) {
  te_spin_end(check(L));
  return 0;
}

/***
It will not be answered.
@function spin:drop
*/
static int spin_drop(lua_State *L) {
  te_spin_drop(check(L));
  return 0;
}

/***
Whether it keeps the loop awake.
@function spin:is_awake
@treturn boolean
*/
static int spin_is_awake(lua_State *L) {
  lua_pushboolean(L, uv_is_active((uv_handle_t *)&check(L)->idle));
  return 1;
}

static const luaL_Reg methods[] = {
    {"start", spin_start},       {"stop", spin_stop},   {"drop", spin_drop},
    {"is_awake", spin_is_awake}, {"close", spin_close}, {NULL, NULL},
};

int te_bind_open_testing_spin(lua_State *L) {
  static const luaL_Reg functions[] = {{"new", spin_new}, {NULL, NULL}};
  static const luaL_Reg meta[] = {{NULL, NULL}};
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  lua_pushinteger(L, TE_SPIN_US);
  lua_setfield(L, -2, "MAX_US");
  return 1;
}
