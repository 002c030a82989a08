/***
Starting other programs.
@module taskengine.core.sys
*/
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "bind/bind.h"

#define CLASS "taskengine.process"

/*
 * One that was let go is still waited for, by whatever turns the loop makes:
 * it would be a zombie otherwise.
 */
typedef struct process {
  uv_process_t handle;
  lua_State *L;  // main
  int anchor;    // the userdata, until the handle has closed
  bool is_let_go;
} process;

// NULL when it has ended or was let go.
static process *find_running(lua_State *L) {
  process **slot = luaL_checkudata(L, 1, CLASS);
  return *slot == NULL || (*slot)->is_let_go ? NULL : *slot;
}

static void on_closed(uv_handle_t *handle) {
  process *p = handle->data;
  luaL_unref(p->L, LUA_REGISTRYINDEX, p->anchor);
  te_free(p);
}

/***
Lets go of the process, which goes on; its end is not heard of any more.
Twice does nothing.
@function process:close
*/
static int process_close(lua_State *L) {
  process *p = find_running(L);
  if (p == NULL) return 0;
  p->is_let_go = true;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 1);  // nobody is told
  uv_unref((uv_handle_t *)&p->handle);
  return 0;
}

// Only when the Lua state is closed: until its end it is anchored.
static int process_gc(lua_State *L) {
  process **p = luaL_checkudata(L, 1, CLASS);
  if (*p != NULL) uv_close((uv_handle_t *)&(*p)->handle, on_closed);
  *p = NULL;
  return 0;
}

static void on_exit_status(uv_process_t *handle, int64_t status, int signum) {
  process *p = handle->data;
  lua_State *L = p->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, p->anchor);
  process **slot = lua_touserdata(L, -1);
  *slot = NULL;
  uv_close((uv_handle_t *)handle, on_closed);
  if (lua_getiuservalue(L, -1, 1) == LUA_TNIL) {
    lua_pop(L, 2);
    return;
  }
  lua_remove(L, -2);
  lua_pushinteger(L, status);
  lua_pushinteger(L, signum);
  te_bind_call(L, 2);
}

/***
The number of the process.
@function process:pid
@treturn ?int nil once it has ended or was let go
*/
static int process_pid(lua_State *L) {
  const process *p = find_running(L);
  if (p == NULL) return 0;
  lua_pushinteger(L, uv_process_get_pid(&p->handle));
  return 1;
}

/***
Sends a signal.
@function process:kill
@tparam[opt="TERM"] int|string signal number or name
@treturn[1] boolean true
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, `"ESRCH"` once it has ended or was let go
@raise when the signal is unknown
*/
static int process_kill(lua_State *L) {
  process *p = find_running(L);
  int signum = lua_isnoneornil(L, 2) ? SIGTERM : te_bind_check_signal(L, 2);
  int rc = p == NULL ? UV_ESRCH : uv_process_kill(&p->handle, signum);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushboolean(L, true);
  return 1;
}

/*
 * Pushes a NULL-terminated array of the strings in the table at `list`; they
 * are borrowed from it, so a metamethod, which nobody keeps a string for, is
 * not asked for any.
 */
static char **push_strings(lua_State *L, int list) {
  lua_Integer count = (lua_Integer)lua_rawlen(L, list);
  luaL_argcheck(L, count >= 1 && count < INT16_MAX, 1, "empty or too long");
  char **strings =
      lua_newuserdatauv(L, ((size_t)count + 1) * sizeof(char *), 0);
  for (lua_Integer i = 1; i <= count; i++) {
    int type = lua_rawgeti(L, list, i);
    luaL_argcheck(L, type == LUA_TSTRING, 1, "a list of strings expected");
    // uv_spawn wants char *, and writes nothing there.
    memcpy(&strings[i - 1], &(const char *){lua_tostring(L, -1)},
           sizeof(char *));
    lua_pop(L, 1);
  }
  strings[count] = NULL;
  return strings;
}

static void append(lua_State *L, int list) {
  lua_seti(L, list, luaL_len(L, list) + 1);
}

// Pushes a list of NAME=VALUE: ours, changed by the table at `changes`.
static void push_environment(lua_State *L, int changes) {
  lua_newtable(L);
  int list = lua_gettop(L);
  for (char **entry = environ; *entry != NULL; entry++) {
    const char *equals = strchr(*entry, '=');
    if (equals == NULL) continue;
    lua_pushlstring(L, *entry, (size_t)(equals - *entry));
    bool kept = lua_gettable(L, changes) == LUA_TNIL;
    lua_pop(L, 1);
    if (!kept) continue;
    lua_pushstring(L, *entry);
    append(L, list);
  }
  lua_pushnil(L);
  while (lua_next(L, changes) != 0) {
    if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "env: not a name");
    if (lua_toboolean(L, -1)) {
      const char *value = luaL_tolstring(L, -1, NULL);
      lua_pushfstring(L, "%s=%s", lua_tostring(L, -3), value);
      append(L, list);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
}

// Fills slot `fd` from opts.stdio[fd] on top of the stack, and pops it.
static void set_stdio(lua_State *L, uv_stdio_container_t *slot, int fd) {
  slot->flags = UV_INHERIT_FD;
  slot->data.fd = fd;
  if (lua_isinteger(L, -1)) {
    slot->data.fd = (int)lua_tointeger(L, -1);
  } else if (!lua_isnil(L, -1)) {
    const char *what = luaL_tolstring(L, -1, NULL);
    if (strcmp(what, "null") == 0) {
      slot->flags = UV_IGNORE;
    } else if (strcmp(what, "inherit") != 0) {
      luaL_error(L, "stdio[%d]: 'inherit', 'null' or a number expected", fd);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

typedef struct launch {
  uv_process_options_t options;
  uv_stdio_container_t stdio[3];
} launch;

// Reads spawn's arguments; what it pushes must stay on the stack.
static void read_plan(lua_State *L, launch *plan) {
  memset(plan, 0, sizeof(*plan));
  uv_process_options_t *o = &plan->options;
  o->exit_cb = on_exit_status;
  o->stdio = plan->stdio;
  o->stdio_count = 3;
  o->args = push_strings(L, 1);
  o->file = o->args[0];

  bool has_stdio = lua_getfield(L, 2, "stdio") == LUA_TTABLE;
  for (int fd = 0; fd < 3; fd++) {
    if (has_stdio) {
      lua_geti(L, -1, fd);
    } else {
      lua_pushnil(L);
    }
    set_stdio(L, &plan->stdio[fd], fd);
  }
  if (lua_getfield(L, 2, "cwd") != LUA_TNIL) o->cwd = luaL_checkstring(L, -1);
  if (lua_getfield(L, 2, "env") == LUA_TTABLE) {
    push_environment(L, lua_gettop(L));
    o->env = push_strings(L, lua_gettop(L));
  }
  lua_getfield(L, 2, "detached");
  if (lua_toboolean(L, -1)) o->flags |= UV_PROCESS_DETACHED;
}

/***
Starts a program. It keeps the loop alive until it ends or is let go; the
handle need not be kept.
@function spawn
@tparam {string,...} args the program (a path, or a name looked up in PATH)
and its arguments
@tparam[opt] table opts
@tparam[opt] table opts.stdio what file descriptors 0, 1 and 2 are there:
`{ [0] = "null", [1] = "inherit", [2] = 5 }`; inherited when missing
@tparam[opt] table opts.env variables to set besides ours; false takes one
away
@tparam[opt] string opts.cwd its working folder
@tparam[opt] boolean opts.detached in a session of its own
@tparam[opt] function opts.on_exit called with the exit code and the signal
that ended it, or 0
@treturn[1] process a handle with `:pid()`, `:kill([signal])`, `:close()`
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, `"ENOENT"` when there is no such program
@raise when an argument is of the wrong kind
*/
static int sys_spawn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  uv_loop_t *loop = te_bind_loop(L);
  launch plan;
  read_plan(L, &plan);

  process **slot = lua_newuserdatauv(L, sizeof(process *), 1);
  *slot = NULL;
  luaL_setmetatable(L, CLASS);
  if (lua_getfield(L, 2, "on_exit") != LUA_TNIL) {
    luaL_argcheck(L, lua_isfunction(L, -1), 2, "on_exit: a function expected");
  }
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, -1);
  int anchor = luaL_ref(L, LUA_REGISTRYINDEX);

  process *p = te_alloc_zero(1, sizeof(*p));
  p->L = te_bind_main(L);
  p->anchor = anchor;
  p->handle.data = p;
  *slot = p;
  int rc = uv_spawn(loop, &p->handle, &plan.options);
  if (rc == 0) return 1;
  uv_close((uv_handle_t *)&p->handle, on_closed);
  *slot = NULL;
  return te_bind_fail(L, rc);
}

static const luaL_Reg methods[] = {
    {"pid", process_pid},
    {"kill", process_kill},
    {"close", process_close},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", process_gc},
    {"__close", process_close},
    {NULL, NULL},
};

int te_bind_open_process(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  lua_pushcfunction(L, sys_spawn);
  return 1;
}
