/***
The embedded Redis: a private `redis-server` that starts by itself.

A server runs as long as somebody has a handle for its name that was
@{ensure}d, and ten seconds longer; what it holds is there the next time.
@module taskengine.core.embedded
*/
#include "embedded.h"

#include <limits.h>
#include <stdio.h>

#include "bind/bind.h"
#include "bind/caller.h"

#define CLASS "taskengine.embedded"

#define TIMEOUT_MS_MAX 1e12  // 30 years

typedef struct handle {
  te_embedded *embedded;  // NULL when closed
} handle;

// An ensure under way keeps its function and its handle from the collector.
typedef struct question {
  lua_State *L;  // main
  int fn;
  int handle;
} question;

static te_embedded *check_open(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  luaL_argcheck(L, h->embedded != NULL, 1, "closed");
  return h->embedded;
}

/***
Makes a handle; starts nothing.
@function new
@tparam string name of the instance
@treturn embedded
*/
static int embedded_new(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  uv_loop_t *loop = te_bind_loop(L);
  handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
  h->embedded = NULL;
  luaL_setmetatable(L, CLASS);
  h->embedded = te_embedded_new(loop, name);
  return 1;
}

// What a question ended with, on its way to the function that waits for it.
typedef struct ending {
  const question *q;
  int status;
  const char *why;
} ending;

// (ending)
static int run_ending(lua_State *L) {
  const ending *e = lua_touserdata(L, 1);
  int results = 1;
  lua_rawgeti(L, LUA_REGISTRYINDEX, e->q->fn);
  luaL_unref(L, LUA_REGISTRYINDEX, e->q->fn);
  luaL_unref(L, LUA_REGISTRYINDEX, e->q->handle);
  if (e->status < 0) {
    results = te_bind_fail_why(L, e->status, e->why);
  } else {
    lua_pushboolean(L, 1);
  }
  lua_call(L, results, 0);
  return 0;
}

static void on_answer(void *arg, int status, const char *socket,
                      const char *why) {
  question *q = arg;
  ending e = {q, status, why};
  (void)socket;
  te_bind_run(q->L, run_ending, &e);
  te_free(q);
}

/***
Sees to it that the server runs and answers: starts it when it does not.
Once it answered, it is kept running and started again when it ends, until
the handle is closed.
@function embedded:ensure
@tparam int timeout_ms
@tparam function fn called once, by the loop: with `true` when the server
answers, or nil, message, name of the error. `"ENOSERVER"`: redis-server is
not installed; `"EACCES"`: no permission for the folder; `"ETIMEDOUT"`;
`"EDOWN"`: the server ends as soon as it is started; `"ECLOSED"`: the handle
was closed meanwhile
*/
static int embedded_ensure(lua_State *L) {
  te_embedded *e = check_open(L);
  lua_Number timeout_ms = luaL_checknumber(L, 2);
  luaL_argcheck(L, timeout_ms >= 0 && timeout_ms <= TIMEOUT_MS_MAX, 2,
                "not a time");
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  int fn = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, 1);
  int self = luaL_ref(L, LUA_REGISTRYINDEX);
  question *q = te_alloc(sizeof(*q));
  *q = (question){.L = te_bind_main(L), .fn = fn, .handle = self};
  te_embedded_ensure(e, (uint64_t)timeout_ms, on_answer, q);
  return 0;
}

/***
The socket that the server answers on.
@function embedded:socket
@treturn ?string path; nil while it is not known to answer
*/
static int embedded_socket(lua_State *L) {
  lua_pushstring(L, te_embedded_socket(check_open(L)));
  return 1;
}

/***
Lets the server go: ten seconds after its last user it ends. Closing twice
does nothing.
@function embedded:close
*/
static int embedded_close(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  te_embedded *e = h->embedded;
  h->embedded = NULL;
  if (e != NULL) te_embedded_close(e);
  return 0;
}

/***
Where an instance lives when it is started by this process.
@function paths
@tparam string name
@treturn[1] string the folder with its data
@treturn[1] string the socket of its server
@return[2] nil
@treturn[2] string message, which says what to do
@treturn[2] string name of the error, e.g. `"EINVAL"` for a name that is none
*/
static int embedded_paths(lua_State *L) {
  char *data_dir, *path;
  te_why why;
  int rc = te_embedded_paths(luaL_checkstring(L, 1), &data_dir, &path, &why);
  if (rc < 0) return te_bind_fail_why(L, rc, why.text);
  char folder[PATH_MAX], socket[PATH_MAX];
  snprintf(folder, sizeof(folder), "%s", data_dir);
  snprintf(socket, sizeof(socket), "%s", path);
  te_free(data_dir);
  te_free(path);
  lua_pushstring(L, folder);
  lua_pushstring(L, socket);
  return 2;
}

/***
Turns this process into the supervisor of an instance, and returns when that
has come to its end. For the command `taskengine supervise NAME`.
@function supervise
@tparam string name
@treturn int exit code of the process
*/
static int embedded_supervise(lua_State *L) {
  lua_pushinteger(L, te_embedded_supervise(luaL_checkstring(L, 1)));
  return 1;
}

static const luaL_Reg methods[] = {
    {"ensure", embedded_ensure},
    {"socket", embedded_socket},
    {"close", embedded_close},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", embedded_close},
    {"__close", embedded_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", embedded_new},
    {"paths", embedded_paths},
    {"supervise", embedded_supervise},
    {NULL, NULL},
};

int te_bind_open_embedded(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
