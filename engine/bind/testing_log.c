/***
Log lines.
@module taskengine.core.testing.log
*/
#include "bind/bind.h"
#include "buf.h"
#include "log.h"

static te_buf captured;
static lua_Integer writes;

static void capture(void *arg, te_slice lines) {
  (void)arg;
  te_buf_add_slice(&captured, lines);
  writes++;
}

static te_log_level check_level(lua_State *L, int arg) {
  te_log_level level = TE_LOG_OFF;
  int rc = te_log_level_parse(te_bind_check_slice(L, arg), &level);
  luaL_argcheck(L, rc == 0, arg, "unknown level");
  return level;
}

/***
Collects lines instead of writing them to stderr, or stops doing so.
@function capture
@tparam boolean on
*/
static int log_capture(lua_State *L) {
  te_log_set_sink(lua_toboolean(L, 1) ? capture : NULL, NULL);
  return 0;
}

/***
What was collected since the last call.
@function captured
@treturn string
@treturn int in how many writes
*/
static int log_captured(lua_State *L) {
  te_slice bytes = te_buf_slice(&captured);
  lua_pushlstring(L, bytes.data, bytes.size);
  lua_pushinteger(L, writes);
  te_buf_free(&captured);
  writes = 0;
  return 2;
}

/***
Writes a line.
@function log
@tparam string level
@tparam string text up to its first zero byte
*/
static int log_log(lua_State *L) {
  te_log(check_level(L, 1), "%s", luaL_checkstring(L, 2));
  return 0;
}

/***
Whether lines of a level are written.
@function enabled
@tparam string level
@treturn boolean
*/
static int log_enabled(lua_State *L) {
  lua_pushboolean(L, te_log_enabled(check_level(L, 1)));
  return 1;
}

/***
Whether lines wait for flush.
@function gather
@tparam boolean on
*/
static int log_gather(lua_State *L) {
  te_log_gather(lua_toboolean(L, 1));
  return 0;
}

/***
Writes the lines that wait.
@function flush
*/
static int log_flush(lua_State *L) {
  (void)L;
  te_log_flush();
  return 0;
}

static const luaL_Reg functions[] = {
    {"capture", log_capture},
    {"captured", log_captured},
    {"log", log_log},
    {"enabled", log_enabled},
    {"gather", log_gather},
    {"flush", log_flush},
    {NULL, NULL},
};

int te_bind_open_testing_log(lua_State *L) {
  luaL_newlib(L, functions);
  lua_pushinteger(L, TE_LOG_TEXT_BYTES_MAX);
  lua_setfield(L, -2, "TEXT_BYTES_MAX");
  return 1;
}
