/***
Signals that the loop watches.
@module taskengine.core.loop
*/
#include <signal.h>
#include <string.h>

#include "bind/bind.h"

#define CLASS "taskengine.signal"

typedef struct watch {
  uv_signal_t handle;
  lua_State *L;  // main
  int anchor;    // the userdata, until the handle has closed
} watch;

static void on_watch_closed(uv_handle_t *handle) {
  watch *w = handle->data;
  luaL_unref(w->L, LUA_REGISTRYINDEX, w->anchor);
  te_free(w);
}

static void on_signal(uv_signal_t *handle, int signum) {
  watch *w = handle->data;
  lua_rawgeti(w->L, LUA_REGISTRYINDEX, w->anchor);
  lua_getiuservalue(w->L, -1, 1);
  lua_remove(w->L, -2);
  lua_pushinteger(w->L, signum);
  te_bind_call(w->L, 1);
}

/***
Stops watching. Twice does nothing.
@function signal:close
*/
static int signal_close(lua_State *L) {
  watch **w = luaL_checkudata(L, 1, CLASS);
  if (*w != NULL) uv_close((uv_handle_t *)&(*w)->handle, on_watch_closed);
  *w = NULL;
  return 0;
}

int te_bind_check_signal(lua_State *L, int arg) {
  static const struct {
    const char *name;
    int signum;
  } known[] = {
      {"HUP", SIGHUP},   {"INT", SIGINT},     {"QUIT", SIGQUIT},
      {"KILL", SIGKILL}, {"USR1", SIGUSR1},   {"USR2", SIGUSR2},
      {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},   {"TERM", SIGTERM},
      {"CHLD", SIGCHLD}, {"CONT", SIGCONT},   {"STOP", SIGSTOP},
      {"TSTP", SIGTSTP}, {"WINCH", SIGWINCH},
  };
  if (lua_type(L, arg) == LUA_TNUMBER) return (int)luaL_checkinteger(L, arg);
  const char *name = luaL_checkstring(L, arg);
  if (strncmp(name, "SIG", 3) == 0) name += 3;
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
    if (strcmp(known[i].name, name) == 0) return known[i].signum;
  }
  return luaL_argerror(L, arg, "unknown signal");
}

/***
Calls a function whenever a signal comes in. Watching does not keep the loop
alive; the handle need not be kept.
@function signal
@tparam int|string signal number or name (`"SIGTERM"`, `"TERM"`)
@tparam function fn called with the signal's number
@tparam[opt=false] boolean once the second one has its usual effect, even if
the first was not noticed yet because the loop did not run
@treturn[1] signal a handle with `:close()`
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, e.g. `"EINVAL"` for `"KILL"`
@raise when the signal is unknown
*/
static int loop_signal(lua_State *L) {
  int signum = te_bind_check_signal(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  bool is_once = lua_toboolean(L, 3);
  uv_loop_t *loop = te_bind_loop(L);
  watch **slot = lua_newuserdatauv(L, sizeof(watch *), 1);
  *slot = NULL;
  luaL_setmetatable(L, CLASS);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, -1);
  int anchor = luaL_ref(L, LUA_REGISTRYINDEX);

  watch *w = te_alloc(sizeof(*w));
  int rc = uv_signal_init(loop, &w->handle);
  if (rc < 0) {  // no descriptors for it; there is nothing to close
    luaL_unref(L, LUA_REGISTRYINDEX, anchor);
    te_free(w);
    return te_bind_fail(L, rc);
  }
  w->L = te_bind_main(L);
  w->anchor = anchor;
  w->handle.data = w;
  uv_unref((uv_handle_t *)&w->handle);
  *slot = w;
  rc = is_once ? uv_signal_start_oneshot(&w->handle, on_signal, signum)
               : uv_signal_start(&w->handle, on_signal, signum);
  if (rc == 0) return 1;
  uv_close((uv_handle_t *)&w->handle, on_watch_closed);
  *slot = NULL;
  return te_bind_fail(L, rc);
}

static const luaL_Reg methods[] = {
    {"close", signal_close},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", signal_close},
    {"__close", signal_close},
    {NULL, NULL},
};

int te_bind_open_signal(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  lua_pushcfunction(L, loop_signal);
  return 1;
}
