/***
The channel of a process that runs tasks, to its master. One for each process.
@module taskengine.core.child
*/
#include "child.h"

#include <limits.h>
#include <string.h>

#include "bind/bind.h"
#include "bind/child_task.h"
#include "bind/scratch.h"
#include "codec.h"
#include "log.h"

enum handler {
  ON_CONFIG = 1,
  ON_TASK,
  ON_CANCEL,
  ON_ITEM,
  ON_LINK,
  ON_QUIT,
  REQUESTS,  // number to callback
  HANDLERS = REQUESTS,
};

// An upvalue of all functions here; the handlers are its user values.
typedef struct box {
  te_child *child;   // NULL until it is opened
  lua_State *L;      // the main state
  uint32_t request;  // the last number given out
} box;

static const char CLASS[] = "taskengine.child";

static box *find_box(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

te_child *te_bind_child(lua_State *L) {
  te_child *c = find_box(L)->child;
  if (c == NULL) luaL_error(L, "this process has no channel to a master");
  return c;
}

// Pushes a user value of the box; false, and nothing, when it is not set.
static bool push_value(lua_State *L, enum handler which) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, CLASS);
  int type = lua_getiuservalue(L, -1, (int)which);
  lua_remove(L, -2);
  if (type == LUA_TNIL) lua_pop(L, 1);
  return type != LUA_TNIL;
}

static void push_token(lua_State *L, te_token token) {
  lua_pushinteger(
      L, (lua_Integer)((uint64_t)token.generation << 32 | token.claim));
}

te_token te_bind_check_child_task(lua_State *L, int arg) {
  uint64_t n = (uint64_t)luaL_checkinteger(L, arg);
  te_token token = {(uint32_t)n, (uint32_t)(n >> 32)};
  luaL_argcheck(L, token.claim < TE_CLAIMS_MAX, arg, "not a token");
  return token;
}

/*
 * What the master said, on its way to a handler. All that allocates happens in
 * the protected call that hands it over: an error there ends this process, by
 * its handler of errors, and no task is lost.
 */
typedef struct news {
  enum handler to;
  const te_token *token;  // NULL: none
  const te_slice *bytes;  // NULL: none
  const bool *flag;       // NULL: none
} news;

// (news)
static int hand_over(lua_State *L) {
  const news *n = lua_touserdata(L, 1);
  if (!push_value(L, n->to)) return 0;
  int function = lua_gettop(L);
  if (n->token != NULL) push_token(L, *n->token);
  if (n->bytes != NULL) lua_pushlstring(L, n->bytes->data, n->bytes->size);
  if (n->flag != NULL) lua_pushboolean(L, *n->flag);
  lua_call(L, lua_gettop(L) - function, 0);
  return 0;
}

static void tell(box *b, news *n) {
  te_bind_run(b->L, hand_over, n);
}

static void on_config(void *arg, te_slice config) {
  tell(arg, &(news){.to = ON_CONFIG, .bytes = &config});
}

static void on_task(void *arg, te_token token, te_slice envelope) {
  tell(arg, &(news){.to = ON_TASK, .token = &token, .bytes = &envelope});
}

static void on_cancel(void *arg, te_token token, bool is_asked) {
  tell(arg, &(news){.to = ON_CANCEL, .token = &token, .flag = &is_asked});
}

static void on_item(void *arg, te_slice item) {
  tell(arg, &(news){.to = ON_ITEM, .bytes = &item});
}

static void on_link(void *arg, bool is_up) {
  tell(arg, &(news){.to = ON_LINK, .flag = &is_up});
}

static void on_quit(void *arg) {
  tell(arg, &(news){.to = ON_QUIT});
}

static int decode(lua_State *L) {
  te_slice bytes = te_bind_check_slice(L, 1);
  int rc = te_codec_decode(L, bytes, NULL);
  return rc < 0 ? luaL_error(L, "%s", te_strerror(rc)) : 1;
}

// Pushes what the callback of a request gets; returns how many values.
static int push_reply(lua_State *L, int status, te_slice payload) {
  if (status < 0) {
    const char *name = te_errname(status);
    lua_pushnil(L);
    lua_pushfstring(L, "%s: ", name);
    lua_pushlstring(L, payload.data, payload.size);
    lua_concat(L, 2);
    lua_pushstring(L, name);
    return 3;
  }
  lua_pushcfunction(L, decode);
  lua_pushlstring(L, payload.data, payload.size);
  lua_call(L, 1, 1);
  return 1;
}

typedef struct answer {
  uint32_t request;
  int status;
  te_slice payload;
} answer;

// (answer)
static int finish_request(lua_State *L) {
  const answer *a = lua_touserdata(L, 1);
  if (!push_value(L, REQUESTS)) return 0;
  if (lua_rawgeti(L, -1, a->request) != LUA_TFUNCTION) return 0;
  lua_pushnil(L);
  lua_rawseti(L, -3, a->request);
  lua_call(L, push_reply(L, a->status, a->payload), 0);
  return 0;
}

static void on_reply(void *arg, uint32_t request, int status,
                     te_slice payload) {
  box *b = arg;
  answer a = {request, status, payload};
  te_bind_run(b->L, finish_request, &a);
}

/***
Opens the channel that the master left to this process.
@function open
@tparam int index which of the master's children this is
@treturn[1] boolean true
@return[2] nil
@treturn[2] string message
@treturn[2] string its code: this process was not started by a master
@raise when it is open
*/
static int child_open(lua_State *L) {
  box *b = find_box(L);
  lua_Integer index = luaL_checkinteger(L, 1);
  luaL_argcheck(L, index >= 0 && index < TE_CHILDREN_MAX, 1, "out of range");
  if (b->child != NULL) return luaL_error(L, "the channel is open");
  te_child_events events = {.on_config = on_config,
                            .on_task = on_task,
                            .on_cancel = on_cancel,
                            .on_reply = on_reply,
                            .on_item = on_item,
                            .on_link = on_link,
                            .on_quit = on_quit,
                            .arg = b};
  int rc = te_child_new(te_bind_loop(L), (unsigned)index, &events, &b->child);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushboolean(L, true);
  return 1;
}

static int set_handler(lua_State *L, enum handler which) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_setiuservalue(L, lua_upvalueindex(1), (int)which);
  return 0;
}

/***
Sets what is called with the master's configuration, MessagePack.
@function on_config
@tparam function fn `fn(bytes)`
*/
static int child_on_config(lua_State *L) {
  return set_handler(L, ON_CONFIG);
}

/***
Sets what begins a task. It must be ended with @{done}, at once or later.
@function on_task
@tparam function fn `fn(token, envelope)`
*/
static int child_on_task(lua_State *L) {
  return set_handler(L, ON_TASK);
}

/***
Sets what ends a task: it is asked to end, or is to be ended where it waits,
because its time is up.
@function on_cancel
@tparam function fn `fn(token, is_asked)`
*/
static int child_on_cancel(lua_State *L) {
  return set_handler(L, ON_CANCEL);
}

/***
Sets what takes an outcome that was awaited: an id and the record behind it.
@function on_item
@tparam function fn `fn(item)`
*/
static int child_on_item(lua_State *L) {
  return set_handler(L, ON_ITEM);
}

/***
Sets what is told when Redis can be reached, or no more.
@function on_link
@tparam function fn `fn(is_up)`
*/
static int child_on_link(lua_State *L) {
  return set_handler(L, ON_LINK);
}

/***
Sets what is called when the master is gone or wants no more.
@function on_quit
@tparam function fn `fn()`
*/
static int child_on_quit(lua_State *L) {
  return set_handler(L, ON_QUIT);
}

/***
How many tasks run at a time; 1 until then.
@function set_concurrency
@tparam int tasks 0: no other begins
*/
static int child_set_concurrency(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 0 && n <= TE_CLAIMS_MAX, 1, "out of range");
  te_child_set_concurrency(te_bind_child(L), (unsigned)n);
  return 0;
}

/***
Tells the master which file it begins to load.
@function loads
@tparam string path
*/
static int child_loads(lua_State *L) {
  te_slice path = te_bind_check_slice(L, 1);
  if (path.size > PATH_MAX) path.size = PATH_MAX;
  te_child_loads(te_bind_child(L), path);
  return 0;
}

/***
Tells the master that the files are loaded, or that they cannot be.
@function hello
@tparam boolean is_ready whether tasks may come
@tparam string bytes MessagePack: what was loaded, or why not
*/
static int child_hello(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  te_slice bytes = te_bind_check_slice(L, 2);
  luaL_argcheck(L, bytes.size <= TE_CHILD_BYTES_MAX, 2, "too large");
  te_child_hello(te_bind_child(L), lua_toboolean(L, 1), bytes);
  return 0;
}

// Takes the argument from the top of the stack; its size comes before it.
static void add_arg(lua_State *L, te_buf *b) {
  te_slice s = te_bind_check_slice(L, -1);
  if (te_buf_size(b) + 4 + s.size > TE_CHILD_BYTES_MAX)
    luaL_error(L, "larger than a request may be");
  te_buf_add_u32(b, (uint32_t)s.size);
  te_buf_add_slice(b, s);
  lua_pop(L, 1);
}

/***
Asks the master to call a function of the library.
@function request
@tparam function callback `callback(reply)`, or `callback(nil, message, code)`
@tparam string name e.g. `"te1_outcome"`
@tparam {string,...} args
*/
static int child_request(lua_State *L) {
  te_child *c = te_bind_child(L);
  box *b = find_box(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TSTRING);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_Integer n = luaL_len(L, 3);
  te_buf *payload = te_bind_scratch_push(L);
  lua_pushvalue(L, 2);
  add_arg(L, payload);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, 3, i);
    add_arg(L, payload);
  }
  lua_getiuservalue(L, lua_upvalueindex(1), REQUESTS);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, ++b->request);
  te_child_request(c, b->request, te_buf_slice(payload));
  te_buf_free(payload);
  return 0;
}

/***
Writes a line to the worker's log.
@function log
@tparam string level `"debug"`, `"info"`, `"warn"` or `"error"`
@tparam ?int token the task that it is about
@tparam string text
*/
static int child_log(lua_State *L) {
  te_child *c = te_bind_child(L);
  te_log_level level;
  int rc = te_log_level_parse(te_bind_check_slice(L, 1), &level);
  luaL_argcheck(L, rc == 0, 1, "not a level");
  te_slice text = te_bind_check_slice(L, 3);
  if (text.size > TE_LOG_TEXT_BYTES_MAX) text.size = TE_LOG_TEXT_BYTES_MAX;
  if (lua_isnoneornil(L, 2)) {
    te_child_log(c, (int)level, NULL, text);
  } else {
    te_token token = te_bind_check_child_task(L, 2);
    te_child_log(c, (int)level, &token, text);
  }
  return 0;
}

/***
Sends now what was gathered.
@function flush
*/
static int child_flush(lua_State *L) {
  te_child_flush(te_bind_child(L));
  return 0;
}

static int close_channel(box *b) {
  if (b->child != NULL) te_child_free(b->child);
  b->child = NULL;
  return 0;
}

/***
Closes the channel, so that the loop can end.
@function close
*/
static int child_close(lua_State *L) {
  return close_channel(find_box(L));
}

static int box_gc(lua_State *L) {
  return close_channel(lua_touserdata(L, 1));
}

static void push_box(lua_State *L) {
  box *b = lua_newuserdatauv(L, sizeof(*b), HANDLERS);
  memset(b, 0, sizeof(*b));
  b->L = te_bind_main(L);
  if (luaL_newmetatable(L, CLASS)) {
    lua_pushcfunction(L, box_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  lua_newtable(L);
  lua_setiuservalue(L, -2, REQUESTS);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, CLASS);
}

int te_bind_open_child(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"open", child_open},
      {"on_config", child_on_config},
      {"on_task", child_on_task},
      {"on_cancel", child_on_cancel},
      {"on_item", child_on_item},
      {"on_link", child_on_link},
      {"on_quit", child_on_quit},
      {"set_concurrency", child_set_concurrency},
      {"loads", child_loads},
      {"hello", child_hello},
      {"request", child_request},
      {"log", child_log},
      {"flush", child_flush},
      {"close", child_close},
      {NULL, NULL},
  };
  lua_newtable(L);
  push_box(L);
  lua_pushvalue(L, -1);
  lua_insert(L, -3);
  luaL_setfuncs(L, functions, 1);
  lua_insert(L, -2);
  luaL_setfuncs(L, te_bind_child_tasks, 1);
  lua_pushinteger(L, TE_CHILDREN_MAX - 1);
  lua_setfield(L, -2, "INDEX_MAX");  // of open
  lua_pushinteger(L, (lua_Integer)TE_WIRE_STATE_BYTES_MAX);
  lua_setfield(L, -2, "STATE_BYTES_MAX");  // of state
  return 1;
}
