/***
Log lines on stderr: one for each thing worth knowing.
@module taskengine.core.log
*/
#include "log.h"

#include "bind/bind.h"
#include "stray.h"

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
Makes each line a JSON object from now on, see engine/logline.h.
@function set_json
@tparam boolean whether
@tparam[opt=""] string worker its name, for each line
*/
static int log_set_json(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  size_t size;
  const char *worker = luaL_optlstring(L, 2, "", &size);
  te_log_set_json(lua_toboolean(L, 1), te_slice_of(worker, size));
  return 0;
}

/***
Makes what children write to stderr, past the log, lines of it: those that are
started from now on.
@function take_stray
@treturn[1] boolean true
@return[2] nil
@treturn[2] string message
@treturn[2] string its code
*/
static int log_take_stray(lua_State *L) {
  int rc = te_stray_start(te_bind_loop(L));
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushboolean(L, true);
  return 1;
}

/***
Logs what children have written and ends that. Harmless when it never began.
@function release_stray
*/
static int log_release_stray(lua_State *L) {
  (void)L;
  te_stray_stop();
  return 0;
}

/***
Writes a line. Control characters and bytes that are not UTF-8 are escaped.
@function write
@tparam string level
@tparam string text
@tparam[opt=false] boolean always whatever the level
*/
static int log_write(lua_State *L) {
  te_log_level level = check_level(L, 1);
  te_slice text = te_bind_check_slice(L, 2);
  if (lua_toboolean(L, 3)) {
    te_log_always(level, NULL, text);
  } else {
    te_log_bytes(level, text);
  }
  return 0;
}

int te_bind_open_log(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"set_level", log_set_level},
      {"set_erases", log_set_erases},
      {"set_json", log_set_json},
      {"take_stray", log_take_stray},
      {"release_stray", log_release_stray},
      {"write", log_write},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
