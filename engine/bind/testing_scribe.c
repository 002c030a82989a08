/***
The thread that writes to stderr.
@module taskengine.core.testing.scribe
*/
#include "bind/bind.h"
#include "scribe.h"

/***
Has lines written.
@function add
@tparam string lines
@treturn boolean false when there is no room for them
@treturn int how many bytes a file had no room for
*/
static int scribe_add(lua_State *L) {
  te_slice lines = te_bind_check_slice(L, 1);
  bool is_taken = te_scribe_add(&lines) == 0;
  lua_pushboolean(L, is_taken);
  lua_pushinteger(L, is_taken ? 0 : (lua_Integer)lines.size);
  return 2;
}

/***
Waits until all is written, and ends the thread.
@function stop
@tparam int limit_ms
*/
static int scribe_stop(lua_State *L) {
  te_scribe_stop((unsigned)luaL_checkinteger(L, 1));
  return 0;
}

static const luaL_Reg functions[] = {
    {"add", scribe_add},
    {"stop", scribe_stop},
    {NULL, NULL},
};

int te_bind_open_testing_scribe(lua_State *L) {
  luaL_newlib(L, functions);
  lua_pushinteger(L, TE_SCRIBE_BYTES_MAX);
  lua_setfield(L, -2, "BYTES_MAX");
  return 1;
}
