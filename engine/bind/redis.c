/***
Connections to Redis that come back by themselves.

A connection is *up* once the server was found usable and the function library
is declared. Calls made while it is not up, or under way when it is lost, end
with an error; see `engine/redis.h` for what is repeated and what is not.
@module taskengine.core.redis
*/
#include "redis.h"

#include <stdio.h>
#include <string.h>

#include "bind/bind.h"
#include "bind/caller.h"
#include "bind/options.h"

#define CLASS          "taskengine.redis"
#define TIMEOUT_MS_MAX 3600000
#define NUMBER_BYTES   64
#define WHY_BYTES      256

// User values of a connection.
enum { VALUE_ON_UP = 1, VALUE_ON_DOWN, VALUE_PREPARE, VALUE_LIBRARY };

/*
 * The memory of the userdata: it is anchored until the connection has closed,
 * and when the state is closed it lasts until the loop's end has run.
 */
typedef struct connection {
  te_redis *redis;  // NULL when closed
  lua_State *L;     // main
  bool is_embedded;
  int anchor;
  int on_close;
} connection;

static connection *check_open(lua_State *L) {
  connection *c = luaL_checkudata(L, 1, CLASS);
  luaL_argcheck(L, c->redis != NULL, 1, "closed");
  return c;
}

static void check_fn(lua_State *L, int arg) {
  if (!lua_isnoneornil(L, arg)) luaL_checktype(L, arg, LUA_TFUNCTION);
}

static bool can_send(lua_State *L, int index) {
  int type = lua_type(L, index);
  return type == LUA_TSTRING || type == LUA_TNUMBER;
}

/*
 * Adds the string or number at `index`. Raises nothing: a command that was
 * begun has to be ended.
 */
static void add_value(lua_State *L, te_redis *redis, int index) {
  char number[NUMBER_BYTES];
  te_slice text = te_slice_of(number, 0);
  if (lua_type(L, index) == LUA_TSTRING) {
    text.data = lua_tolstring(L, index, &text.size);
  } else if (lua_isinteger(L, index)) {
    text.size = (size_t)snprintf(number, sizeof(number), LUA_INTEGER_FMT,
                                 (LUAI_UACINT)lua_tointeger(L, index));
  } else {
    text.size = (size_t)snprintf(number, sizeof(number), "%.17g",
                                 lua_tonumber(L, index));
  }
  te_redis_add(redis, text);
}

static void check_values(lua_State *L, int first, int last) {
  for (int i = first; i <= last; i++)
    if (!can_send(L, i)) luaL_typeerror(L, i, "string or number");
}

// Sends the command in the arguments from `first` on.
static int call(lua_State *L, connection *c, int first, uint64_t block_ms,
                int fn) {
  int last = lua_gettop(L);
  size_t count = (size_t)last + 1 - (size_t)first;
  check_fn(L, fn);
  luaL_argcheck(L, last >= first, first, "no command");
  check_values(L, first, last);
  te_bind_caller *to = te_bind_caller_new(L, fn, &c->redis);
  te_redis_begin(c->redis, count);
  for (int i = first; i <= last; i++)
    add_value(L, c->redis, i);
  te_redis_end(c->redis, block_ms, te_bind_on_reply, to);
  return 0;
}

/***
Sends a command. Those of one turn of the loop go out together.
@function redis:call
@tparam ?function fn called by the loop, once, with the reply: a string, an
integer, an array, or false for Redis' nil (in an array too, where an error
is a table with `err`); or with nil, message, name of the error. `"EREPLY"`:
Redis answered with an error, which is the message; `"EDOWN"`: not connected,
it was not carried out; `"ELOST"`: the connection was lost, it may have been;
`"ECLOSED"`: closed meanwhile
@tparam string command
@tparam ?string|number ... its arguments, as many as there are
@raise when an argument is neither string nor number
*/
static int redis_call(lua_State *L) {
  return call(L, check_open(L), 3, 0, 2);
}

/***
Sends a command that may block on the server.
@function redis:call_blocking
@tparam int ms for how long at most; the connection's `timeout_ms` comes on
top of it
@tparam ?function fn as for @{redis:call}
@tparam string command
@tparam ?string|number ... its arguments
@raise when an argument is neither string nor number
*/
static int redis_call_blocking(lua_State *L) {
  connection *c = check_open(L);
  lua_Integer ms = luaL_checkinteger(L, 2);
  luaL_argcheck(L, ms >= 0 && ms <= UINT32_MAX, 2, "not a time");
  return call(L, c, 4, (uint64_t)ms, 3);
}

static void check_list(lua_State *L, int list, lua_Integer count) {
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, list, i);
    if (!can_send(L, -1)) {
      luaL_error(L, "element %d of a command is a %s, not a string or number",
                 (int)i, luaL_typename(L, -1));
    }
    lua_pop(L, 1);
  }
}

/***
Sends a command that is in a list, which may be long.
@function redis:call_list
@tparam ?function fn as for @{redis:call}
@tparam {string|number,...} list the command and its arguments, or the rest of
them
@tparam ?string|number ... what goes in front of the list
@raise when one of them is neither string nor number
*/
static int redis_call_list(lua_State *L) {
  connection *c = check_open(L);
  int last = lua_gettop(L);
  check_fn(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_Integer count = (lua_Integer)lua_rawlen(L, 3);
  luaL_argcheck(L, count + last > 3, 3, "no command");
  check_values(L, 4, last);
  check_list(L, 3, count);
  te_bind_caller *to = te_bind_caller_new(L, 2, &c->redis);
  te_redis_begin(c->redis, (size_t)(last - 3) + (size_t)count);
  for (int i = 4; i <= last; i++)
    add_value(L, c->redis, i);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 3, i);
    add_value(L, c->redis, -1);
    lua_pop(L, 1);
  }
  te_redis_end(c->redis, 0, te_bind_on_reply, to);
  return 0;
}

/***
Whether the connection can be used now.
@function redis:is_up
@treturn boolean
*/
static int redis_is_up(lua_State *L) {
  lua_pushboolean(L, te_redis_is_up(check_open(L)->redis));
  return 1;
}

/***
Why the connection is not up.
@function redis:why
@treturn[1] nil when it is
@treturn[2] string message, which names the server and holds no secret
@treturn[2] string name of the error
*/
static int redis_why(lua_State *L) {
  const char *why;
  int code = te_redis_why(check_open(L)->redis, &why);
  if (code == 0) return 0;
  lua_pushfstring(L, "%s: %s", te_errname(code), why);
  lua_pushstring(L, te_errname(code));
  return 2;
}

static int run_on_close(lua_State *L) {
  const connection *c = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->on_close);
  luaL_unref(L, LUA_REGISTRYINDEX, c->on_close);
  lua_call(L, 0, 0);
  return 0;
}

static void on_closed(void *arg) {
  connection *c = arg;
  int anchor = c->anchor;
  lua_State *L = c->L;
  if (c->on_close != LUA_NOREF) te_bind_run(L, run_on_close, c);
  luaL_unref(L, LUA_REGISTRYINDEX, anchor);
}

static void close_connection(connection *c) {
  te_redis *redis = c->redis;
  c->redis = NULL;
  if (redis != NULL) te_redis_close(redis, on_closed, c);
}

/***
Ends the connection. Calls under way end with `"ECLOSED"`. Closing twice does
nothing.
@function redis:close
@tparam[opt] function fn called by the loop when all has ended
*/
static int redis_close(lua_State *L) {
  connection *c = luaL_checkudata(L, 1, CLASS);
  check_fn(L, 2);
  if (c->redis != NULL) c->on_close = te_bind_take_fn(L, 2);
  close_connection(c);
  return 0;
}

static int connection_end(lua_State *L) {
  close_connection(luaL_checkudata(L, 1, CLASS));
  return 0;
}

// Something that happened to a connection, on its way to a user value.
typedef struct event {
  connection *c;
  int value;
  int code;
  const char *why;
  bool is_fatal;
} event;

static int redis_ready(lua_State *L);

static void push_value(lua_State *L, const connection *c, int value) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->anchor);
  lua_getiuservalue(L, -1, value);
  lua_remove(L, -2);
}

static int run_event(lua_State *L) {
  const event *e = lua_touserdata(L, 1);
  push_value(L, e->c, e->value);
  if (e->value == VALUE_ON_UP) {
    lua_call(L, 0, 0);
  } else {
    const char *name = te_errname(e->code);
    lua_pushfstring(L, "%s: %s", name, e->why);
    lua_pushstring(L, name);
    lua_pushboolean(L, e->is_fatal);
    lua_call(L, 3, 0);
  }
  return 0;
}

static void on_up(void *arg, te_redis *r) {
  event e = {.c = arg, .value = VALUE_ON_UP};
  (void)r;
  te_bind_run(e.c->L, run_event, &e);
}

static void on_down(void *arg, te_redis *r, int code, const char *why,
                    bool fatal) {
  event e = {arg, VALUE_ON_DOWN, code, why, fatal};
  (void)r;
  te_bind_run(e.c->L, run_event, &e);
}

static int run_prepare(lua_State *L) {
  connection *c = lua_touserdata(L, 1);
  push_value(L, c, VALUE_PREPARE);
  lua_rawgeti(L, LUA_REGISTRYINDEX, c->anchor);
  lua_pushcclosure(L, redis_ready, 1);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return 0;
  // Without an answer the connection would wait for ever.
  if (c->redis != NULL) {
    te_redis_ready(c->redis, TE_EDOWN, NULL, "the broker's preparation failed");
  }
  return lua_error(L);
}

static void on_prepare(void *arg, te_redis *r) {
  connection *c = arg;
  (void)r;
  te_bind_run(c->L, run_prepare, c);
}

static int code_of(const char *name) {
  static const struct {
    const char *name;
    int code;
  } known[] = {
#define X(name, code, text) {#name, code},
      TE_ERRORS(X)
#undef X
#define X(name, text) {#name, UV_##name},
          UV_ERRNO_MAP(X)
#undef X
  };
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
    if (strcmp(known[i].name, name) == 0) return known[i].code;
  return TE_EDOWN;
}

// (socket or true) or (nil, message, name): the function that prepare gets
static int redis_ready(lua_State *L) {
  connection *c = lua_touserdata(L, lua_upvalueindex(1));
  if (lua_toboolean(L, 1)) {
    const char *socket = lua_tostring(L, 1);
    luaL_argcheck(L, socket != NULL || !c->is_embedded, 1, "a socket expected");
    if (c->redis != NULL) te_redis_ready(c->redis, 0, socket, NULL);
    return 0;
  }
  const char *why = luaL_checkstring(L, 2);
  const char *name = luaL_optstring(L, 3, "EDOWN");
  const char *text = strstr(why, ": ");
  size_t size = strlen(name);
  // The message has its name in front; the connection adds it again.
  if (text == why + size && strncmp(why, name, size) == 0) why = text + 2;
  if (c->redis != NULL) te_redis_ready(c->redis, code_of(name), NULL, why);
  return 0;
}

// Reads the options at `opts`; strings are borrowed from there.
static void read_options(lua_State *L, int opts, te_redis_options *o) {
  static const char *const known[] = {"name",    "timeout_ms", "library",
                                      "probe",   "build",      "on_up",
                                      "on_down", "prepare",    NULL};
  te_bind_check_options(L, opts, known);
  o->client_name = te_bind_string_option(L, opts, "name");
  o->library_code = te_bind_string_option(L, opts, "library");
  o->library_probe = te_bind_string_option(L, opts, "probe");
  o->library_build = te_bind_integer_option(L, opts, "build", INT64_MAX);
  o->timeout_ms =
      (uint64_t)te_bind_integer_option(L, opts, "timeout_ms", TIMEOUT_MS_MAX);
  if (o->library_code != NULL &&
      (o->library_probe == NULL || o->library_build == 0)) {
    luaL_error(L, "a library needs its probe and its build");
  }
}

// Moves a function from the options into a user value of what lies on top.
static bool keep_fn(lua_State *L, int opts, const char *key, int value) {
  te_bind_fn_option(L, opts, key);
  bool is_given = !lua_isnil(L, -1);
  lua_setiuservalue(L, -2, value);
  return is_given;
}

// Pushes a connection that is closed, with what it needs from the options.
static connection *push_connection(lua_State *L, int opts,
                                   te_redis_options *o) {
  connection *c = lua_newuserdatauv(L, sizeof(*c), VALUE_LIBRARY);
  *c = (connection){.L = te_bind_main(L), .on_close = LUA_NOREF};
  luaL_setmetatable(L, CLASS);
  o->arg = c;
  if (keep_fn(L, opts, "on_up", VALUE_ON_UP)) o->on_up = on_up;
  if (keep_fn(L, opts, "on_down", VALUE_ON_DOWN)) o->on_down = on_down;
  if (keep_fn(L, opts, "prepare", VALUE_PREPARE)) o->prepare = on_prepare;
  te_bind_raw_field(L, opts, "library");
  lua_setiuservalue(L, -2, VALUE_LIBRARY);
  return c;
}

// Raises nothing: a URL that was parsed has to be freed.
static int open_connection(connection *c, uv_loop_t *loop, te_slice text,
                           const te_redis_options *o, char why[WHY_BYTES]) {
  te_url url;
  int rc = te_url_parse(text, &url, why, WHY_BYTES);
  if (rc < 0) return rc;
  c->is_embedded = url.scheme == TE_SCHEME_EMBEDDED;
  if (c->is_embedded && o->prepare == NULL) {
    snprintf(why, WHY_BYTES, "an embedded broker needs opts.prepare");
    rc = TE_EBADURL;
  } else {
    te_redis_options complete = *o;
    complete.url = &url;
    c->redis = te_redis_new(loop, &complete);
    te_redis_start(c->redis);
  }
  te_url_free(&url);
  return rc;
}

/***
Connects, and goes on doing so until it is closed. The handle need not be kept.
@function connect
@tparam string url of the broker, see @{taskengine.core.url}
@tparam[opt] table opts
@tparam[opt] string opts.name what CLIENT LIST shows
@tparam[opt=5000] int opts.timeout_ms for connecting and for each reply
@tparam[opt] string opts.library code of the function library to declare
@tparam[opt] string opts.probe its function that returns the loaded build
@tparam[opt] int opts.build the build of `library`
@tparam[opt] function opts.on_up called when the connection is up
@tparam[opt] function opts.on_down called when it is lost or an attempt failed,
with message, name of the error, and whether trying again is hopeless
@tparam[opt] function opts.prepare called before each attempt with a function
that it has to call: `ready(true)`, `ready(socket)` to go there instead, or
`ready(nil, message, name)`. An embedded URL needs it, with a socket
@treturn[1] redis
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, as for @{taskengine.core.url.parse}
@raise when an option is unknown or of the wrong type
*/
static int redis_connect(lua_State *L) {
  te_slice text = te_bind_check_slice(L, 1);
  te_redis_options o = {0};
  char why[WHY_BYTES];
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  read_options(L, 2, &o);
  uv_loop_t *loop = te_bind_loop(L);
  connection *c = push_connection(L, 2, &o);
  lua_pushvalue(L, -1);
  c->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  int rc = open_connection(c, loop, text, &o, why);
  if (rc == 0) return 1;
  luaL_unref(L, LUA_REGISTRYINDEX, c->anchor);
  return te_bind_fail_why(L, rc, why);
}

static const luaL_Reg methods[] = {
    {"call", redis_call},
    {"call_list", redis_call_list},
    {"call_blocking", redis_call_blocking},
    {"is_up", redis_is_up},
    {"why", redis_why},
    {"close", redis_close},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", connection_end},
    {"__close", connection_end},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"connect", redis_connect},
    {NULL, NULL},
};

int te_bind_open_redis(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
