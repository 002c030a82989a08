#include "bind/bind.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "assets.h"
#include "runtime.h"

/*
 * What a Lua state has for its loop. The userdata is made before any other
 * of ours, so that its __gc comes last when the state is closed and finds
 * every handle's owner gone.
 */
typedef struct loop_box {
  uv_loop_t loop;
  bool is_open;
  bool is_closed;
  bool runs_once;
  int calls;  // te_bind_call under way, nested
} loop_box;

static const char BOX_KEY;
static const char ON_ERROR_KEY;

static loop_box *find_box(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &BOX_KEY);
  loop_box *box = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return box;
}

static void close_handle(uv_handle_t *handle, void *arg) {
  (void)arg;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static int box_close(lua_State *L) {
  loop_box *box = lua_touserdata(L, 1);
  bool was_open = box->is_open && !box->is_closed;
  box->is_closed = true;
  if (!was_open) return 0;

  uv_walk(&box->loop, close_handle, NULL);
  while (uv_run(&box->loop, UV_RUN_DEFAULT) != 0) {
    // stopped, with handles still closing
  }
  int rc = uv_loop_close(&box->loop);
  // os.exit(code, true) in a function that the loop called: the outer run is
  // never returned to, and handles that it was about to close are not found.
  assert(rc == 0 || box->calls > 0);
  (void)rc;
  return 0;
}

static void make_box(lua_State *L) {
  loop_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  box->is_open = box->is_closed = box->runs_once = false;
  box->calls = 0;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, box_close);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &BOX_KEY);
}

// A peer that is gone is an event for whoever writes to it, not the end of
// the process.
static void ignore_broken_pipes(void) {
  struct sigaction now;
  if (sigaction(SIGPIPE, NULL, &now) < 0 || now.sa_handler != SIG_DFL) return;
  now.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &now, NULL);
}

// Where a standard stream is closed, the loop would get its number: what is
// meant for stderr would go into a descriptor of the loop's, and libuv aborts
// when it is to close one so low. Writing to it fails as it did.
static void occupy_standard_streams(void) {
  int fd;
  do {
    fd = open("/dev/null", O_RDONLY);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

// libuv makes a pipe for the whole process when its first loop has an epoll,
// and aborts when it cannot: three descriptors.
static int open_loop(uv_loop_t *loop) {
  int ends[2];
  occupy_standard_streams();
  int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (other < 0) return uv_translate_sys_error(errno);
  int rc = pipe2(ends, O_CLOEXEC) < 0 ? uv_translate_sys_error(errno) : 0;
  close(other);
  if (rc < 0) return rc;
  close(ends[0]);
  close(ends[1]);
  return uv_loop_init(loop);
}

uv_loop_t *te_bind_loop(lua_State *L) {
  loop_box *box = find_box(L);
  assert(box != NULL);
  if (box->is_closed) luaL_error(L, "this Lua state is being closed");
  if (!box->is_open) {
    int rc = open_loop(&box->loop);
    if (rc < 0) luaL_error(L, "no event loop: %s", te_strerror(rc));
    box->is_open = true;
    ignore_broken_pipes();
  }
  return &box->loop;
}

lua_State *te_bind_main(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *main = lua_tothread(L, -1);
  lua_pop(L, 1);
  return main;
}

void te_bind_set_on_error(lua_State *L, int arg) {
  lua_pushvalue(L, arg);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &ON_ERROR_KEY);
}

static int write_error(lua_State *L) {
  fprintf(stderr, "taskengine: error in a callback: %s\n",
          luaL_tolstring(L, 1, NULL));
  return 0;
}

// Takes the error from the top of the stack.
static void report(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &ON_ERROR_KEY) == LUA_TNIL) {
    lua_pop(L, 1);
  } else {
    lua_insert(L, -2);
    if (te_runtime_call(L, 1, 0) == LUA_OK) return;
  }
  lua_pushcfunction(L, write_error);
  lua_insert(L, -2);
  // A __tostring that fails in its turn has nobody left to tell.
  if (te_runtime_call(L, 1, 0) != LUA_OK) lua_pop(L, 1);
}

void te_bind_call(lua_State *L, int nargs) {
  loop_box *box = find_box(L);
  if (box->is_closed) {  // owners are gone; nobody waits for an answer
    lua_pop(L, nargs + 1);
    return;
  }
  box->calls++;
  if (te_runtime_call(L, nargs, 0) != LUA_OK) report(L);
  box->calls--;
  if (box->runs_once) uv_stop(&box->loop);
}

void te_bind_run(lua_State *L, lua_CFunction fn, void *arg) {
  if (!lua_checkstack(L, 4)) return;
  lua_pushcfunction(L, fn);
  lua_pushlightuserdata(L, arg);
  te_bind_call(L, 1);
}

bool te_bind_run_loop(lua_State *L, uv_run_mode mode) {
  uv_loop_t *loop = te_bind_loop(L);
  loop_box *box = find_box(L);
  if (box->calls > 0) luaL_error(L, "the loop is already running");
  box->runs_once = mode == UV_RUN_ONCE;
  bool is_alive = uv_run(loop, mode) != 0;
  box->runs_once = false;
  return is_alive;
}

int te_bind_fail(lua_State *L, int code) {
  return te_bind_fail_why(L, code, te_strerror(code));
}

int te_bind_fail_why(lua_State *L, int code, const char *why) {
  const char *name = te_errname(code);
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s", name, why);
  lua_pushstring(L, name);
  return 3;
}

te_slice te_bind_check_slice(lua_State *L, int arg) {
  te_slice slice;
  slice.data = luaL_checklstring(L, arg, &slice.size);
  return slice;
}

void te_bind_class(lua_State *L, const char *name, const luaL_Reg *methods,
                   const luaL_Reg *meta) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, meta, 0);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

/***
A file that travels inside the program.
@function asset
@tparam string name below lua/, e.g. `"taskengine/functions/fetch.lua"`
@treturn[1] string its bytes
@return[2] nil when there is none of that name
*/
static int core_asset(lua_State *L) {
  const te_embedded_file *f = te_embedded_file_find(luaL_checkstring(L, 1));
  if (f == NULL) return 0;
  lua_pushlstring(L, f->data, f->size);
  return 1;
}

int luaopen_taskengine_core(lua_State *L) {
  static const luaL_Reg openers[] = {
      {"codec", te_bind_open_codec},
      {"embedded", te_bind_open_embedded},
      {"json", te_bind_open_json},
      {"log", te_bind_open_log},
      {"loop", te_bind_open_loop},
      {"redis", te_bind_open_redis},
      {"sys", te_bind_open_sys},
      {"url", te_bind_open_url},
      {"envelope", te_bind_open_envelope},
      {"worker", te_bind_open_worker},
      {"child", te_bind_open_child},
      {"guard", te_bind_open_guard},
#ifdef TE_TESTING
      {"testing", te_bind_open_testing},
#endif
      {NULL, NULL},
  };
  if (find_box(L) == NULL) make_box(L);
  lua_newtable(L);
  for (const luaL_Reg *o = openers; o->name != NULL; o++) {
    o->func(L);
    lua_setfield(L, -2, o->name);
  }
  lua_pushcfunction(L, core_asset);
  lua_setfield(L, -2, "asset");
  return 1;
}
