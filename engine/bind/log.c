/***
Log lines on stderr: one for each thing worth knowing.
@module taskengine.core.log
*/
#include "log.h"

#include "bind/bind.h"

static te_log_level check_level(lua_State *L, int arg) {
  te_log_level level;
  int rc = te_log_level_parse(te_bind_check_slice(L, arg), &level);
  luaL_argcheck(L, rc == 0, arg, "not a level");
  return level;
}

/***
Sets the lowest level that is written; `"info"` until then.
@function set_level
@tparam string level `"debug"`, `"info"`, `"warn"`, `"error"` or `"off"`
*/
static int log_set_level(lua_State *L) {
  te_log_set_level(check_level(L, 1));
  return 0;
}

/***
Lets each line clear the terminal's line first, where another process keeps
its progress bar.
@function set_erases
@tparam boolean whether
*/
static int log_set_erases(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  te_log_set_erases(lua_toboolean(L, 1));
  return 0;
}

/***
Writes a line. Control characters and bytes that are not UTF-8 are escaped.
@function write
@tparam string level
@tparam string text
*/
static int log_write(lua_State *L) {
  te_log_level level = check_level(L, 1);
  te_slice text = te_bind_check_slice(L, 2);
  te_log_bytes(level, text);
  return 0;
}

int te_bind_open_log(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"set_level", log_set_level},
      {"set_erases", log_set_erases},
      {"write", log_write},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
