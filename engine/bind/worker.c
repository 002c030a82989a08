/***
A master: children on one side, Redis on the other. See `engine/worker.h`.
@module taskengine.core.worker
*/
#include "worker.h"

#include <string.h>

#include "bind/bind.h"
#include "bind/options.h"

#define CLASS "taskengine.worker"

// User values: what the worker borrows, and its handlers.
enum { VALUE_OPTIONS = 1, VALUE_PLAN, VALUE_HANDLERS };

typedef struct handle {
  te_worker *worker;  // NULL once it has stopped
  lua_State *L;       // the main state
  te_url url;
  int anchor;  // keeps the userdata while the worker runs
  bool is_connected;
} handle;

static handle *check_running(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  luaL_argcheck(L, h->worker != NULL, 1, "has stopped");
  return h;
}

/*
 * What happened, on its way to a handler. All that allocates happens in the
 * protected call that hands it over.
 */
typedef struct news {
  const handle *of;
  const char *to;               // name of the handler
  const char *words[2];         // NULL: none
  const te_slice *bytes;        // NULL: none
  const bool *flag;             // NULL: none
  const te_farewell *farewell;  // NULL: none
} news;

static int push_news(lua_State *L, const news *n) {
  int before = lua_gettop(L);
  for (int i = 0; i < 2 && n->words[i] != NULL; i++)
    lua_pushstring(L, n->words[i]);
  if (n->bytes != NULL) lua_pushlstring(L, n->bytes->data, n->bytes->size);
  if (n->flag != NULL) lua_pushboolean(L, *n->flag);
  if (n->farewell != NULL) {
    lua_pushboolean(L, n->farewell->is_told);
    lua_pushinteger(L, (lua_Integer)n->farewell->untold);
    lua_pushinteger(L, (lua_Integer)n->farewell->outcomes);
  }
  return lua_gettop(L) - before;
}

// (news)
static int hand_over(lua_State *L) {
  const news *n = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, n->of->anchor);
  lua_getiuservalue(L, -1, VALUE_HANDLERS);
  lua_pushstring(L, n->to);
  if (lua_rawget(L, -2) != LUA_TFUNCTION) return 0;
  lua_call(L, push_news(L, n), 0);
  return 0;
}

static void tell(news n) {
  te_bind_run(n.of->L, hand_over, &n);
}

static void on_hello(void *arg, te_slice hello) {
  tell((news){.of = arg, .to = "on_hello", .bytes = &hello});
}

static void on_ready(void *arg) {
  tell((news){.of = arg, .to = "on_ready"});
}

static void on_trouble(void *arg, int code, const char *why, bool fatal) {
  tell((news){.of = arg,
              .to = "on_trouble",
              .words = {te_errname(code), why},
              .flag = &fatal});
}

static void on_recovered(void *arg) {
  tell((news){.of = arg, .to = "on_recovered"});
}

static void on_reload(void *arg, te_reload what, te_slice text) {
  static const char *const names[] = {"loaded", "failed", "done"};
  tell((news){
      .of = arg, .to = "on_reload", .words = {names[what]}, .bytes = &text});
}

static void on_stopped(void *arg, const te_farewell *f) {
  handle *h = arg;
  te_worker_free(h->worker);
  h->worker = NULL;
  te_url_free(&h->url);
  tell((news){.of = h, .to = "on_stopped", .farewell = f});
  luaL_unref(h->L, LUA_REGISTRYINDEX, h->anchor);
}

// Fields of the table at `table`; strings stay alive in it.
static const char *needed_field(lua_State *L, int table, const char *name) {
  const char *s = te_bind_string_option(L, table, name);
  if (s == NULL) luaL_error(L, "%s: missing", name);
  return s;
}

// MessagePack: zeros and all.
static te_slice needed_bytes(lua_State *L, int table, const char *name) {
  te_slice s = {needed_field(L, table, name), 0};
  lua_getfield(L, table, name);
  s.size = (size_t)lua_rawlen(L, -1);
  lua_pop(L, 1);
  return s;
}

static lua_Integer integer_field(lua_State *L, int table, const char *name,
                                 lua_Integer min, lua_Integer max) {
  int is_integer;
  lua_getfield(L, table, name);
  lua_Integer v = lua_tointegerx(L, -1, &is_integer);
  lua_pop(L, 1);
  if (!is_integer || v < min || v > max)
    luaL_error(L, "%s: not an integer from %I to %I", name, min, max);
  return v;
}

static te_log_level level_field(lua_State *L, int table, const char *name) {
  te_log_level level = TE_LOG_INFO;
  te_slice text = te_slice_str(needed_field(L, table, name));
  if (te_log_level_parse(text, &level) < 0)
    luaL_error(L, "%s: not a level", name);
  return level;
}

/***
Makes a worker, whose children are not started yet.
@function new
@tparam table options `program`, `processes`, `concurrency`, `config`
(MessagePack, for the children), `claims_dir` (optional), `task_level`: what
tasks say is logged from that level on
@tparam table handlers `on_hello(bytes)`: the first child has loaded its
files; `on_ready()`; `on_trouble(code, why, fatal)`: Redis cannot be used;
`on_recovered()`: it can be again; `on_reload(what, text)`: `"loaded"` (the
first new child has; as for `on_hello`), `"failed"` (why), `"done"`: no old
child gets tasks any more; `on_stopped(is_told, untold, outcomes)`:
Redis knows that it is gone, or does not, and how many tasks it has there
still; so many of them ended
@treturn[1] worker
@return[2] nil
@treturn[2] string message
@treturn[2] string its code
@raise when an option is missing or out of range
*/
static int worker_new(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  te_worker_options o = {0};
  o.program = needed_field(L, 1, "program");
  o.claims_dir = te_bind_string_option(L, 1, "claims_dir");
  o.config = needed_bytes(L, 1, "config");
  o.task_level = level_field(L, 1, "task_level");
  o.processes = (unsigned)integer_field(L, 1, "processes", 1, TE_PROCESSES_MAX);
  o.concurrency = (unsigned)integer_field(L, 1, "concurrency", 1, 1000);

  handle *h = lua_newuserdatauv(L, sizeof(*h), VALUE_HANDLERS);
  memset(h, 0, sizeof(*h));
  luaL_setmetatable(L, CLASS);
  h->L = te_bind_main(L);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, VALUE_OPTIONS);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, VALUE_HANDLERS);
  te_worker_events events = {.on_hello = on_hello,
                             .on_ready = on_ready,
                             .on_trouble = on_trouble,
                             .on_recovered = on_recovered,
                             .on_reload = on_reload,
                             .on_stopped = on_stopped,
                             .arg = h};
  uv_loop_t *loop = te_bind_loop(L);
  lua_pushvalue(L, -1);
  h->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  int rc = te_worker_new(loop, &o, &events, &h->worker);
  if (rc == 0) return 1;
  luaL_unref(L, LUA_REGISTRYINDEX, h->anchor);
  return te_bind_fail(L, rc);
}

/***
Starts the children.
@function worker:start
@treturn[1] boolean true
@return[2] nil
@treturn[2] string message; the worker is to be stopped
@treturn[2] string its code
*/
static int worker_start(lua_State *L) {
  int rc = te_worker_start(check_running(L)->worker);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushboolean(L, true);
  return 1;
}

// The names in the list at the top of the stack, which keeps them alive.
static te_slice *check_queues(lua_State *L, size_t *count) {
  luaL_checktype(L, -1, LUA_TTABLE);
  *count = (size_t)lua_rawlen(L, -1);
  if (*count == 0) luaL_error(L, "queues: none");
  te_slice *queues = lua_newuserdatauv(L, *count * sizeof(*queues), 0);
  for (size_t i = 0; i < *count; i++) {
    lua_rawgeti(L, -2, (lua_Integer)i + 1);
    // A number's text would be gone with the next line.
    luaL_argexpected(L, lua_type(L, -1) == LUA_TSTRING, 2, "names");
    queues[i] = te_bind_check_slice(L, -1);
    lua_pop(L, 1);
  }
  return queues;
}

static te_redis_options redis_options(lua_State *L, handle *h) {
  te_redis_options o = {0};
  o.client_name = te_bind_string_option(L, 2, "client_name");
  o.library_code = needed_field(L, 2, "library");
  o.library_probe = needed_field(L, 2, "probe");
  o.library_build = integer_field(L, 2, "build", 0, INT64_MAX);
  o.url = &h->url;
  return o;
}

static size_t count_fields(lua_State *L, int table) {
  size_t count = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
    count++;
  return count;
}

// Of the table at the top of the stack, which keeps the names alive.
static te_time_limit *check_time_limits(lua_State *L, size_t *count) {
  luaL_checktype(L, -1, LUA_TTABLE);
  int table = lua_gettop(L);
  *count = count_fields(L, table);
  te_time_limit *limits = lua_newuserdatauv(L, *count * sizeof(*limits), 0);
  te_time_limit *at = limits;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1), at++) {
    luaL_argexpected(L, lua_type(L, -2) == LUA_TSTRING, 2, "names");
    at->task = te_bind_check_slice(L, -2);
    at->ms = (uint32_t)integer_field(L, table, at->task.data, 1, UINT32_MAX);
  }
  return limits;
}

// Pushes what keeps the queues and the names alive.
static te_terms check_terms(lua_State *L, int table) {
  te_terms t = {.description = needed_bytes(L, table, "description")};
  t.grace_ms = (uint64_t)integer_field(L, table, "grace_ms", 0, 86400000);
  t.time_limit_ms =
      (uint32_t)integer_field(L, table, "time_limit_ms", 0, UINT32_MAX);
  t.limits.tasks_max =
      (uint64_t)integer_field(L, table, "child_tasks_max", 0, INT64_MAX);
  t.limits.memory_bytes_max =
      (uint64_t)integer_field(L, table, "child_memory_max", 0, INT64_MAX);
  lua_getfield(L, table, "queues");
  t.queues = check_queues(L, &t.queue_count);
  lua_getfield(L, table, "time_limits");
  t.time_limits = check_time_limits(L, &t.time_limit_count);
  return t;
}

/***
Connects to Redis and asks for a lease; once for each worker.
@function worker:connect
@tparam table plan `url`, `prefix`, `service`, `queues`, `lease_ms`,
`library`, `probe`, `build`, `client_name`; and what @{worker:set_terms} takes
@treturn[1] boolean true
@return[2] nil
@treturn[2] string what is wrong with the URL
@treturn[2] string its code
*/
static int worker_connect(lua_State *L) {
  handle *h = check_running(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_argcheck(L, !h->is_connected, 1, "is connected");
  lua_settop(L, 2);
  te_worker_plan plan = {0};
  plan.redis = redis_options(L, h);
  plan.prefix = needed_field(L, 2, "prefix");
  plan.service = needed_field(L, 2, "service");
  if (strlen(plan.service) != TE_CLAIMS_SERVICE_BYTES)
    luaL_error(L, "service: not of %d bytes", TE_CLAIMS_SERVICE_BYTES);
  plan.lease_ms = (uint64_t)integer_field(L, 2, "lease_ms", 100, 3600000);
  plan.terms = check_terms(L, 2);
  char why[256];
  te_slice url = te_slice_str(needed_field(L, 2, "url"));
  int rc = te_url_parse(url, &h->url, why, sizeof(why));
  if (rc < 0) return te_bind_fail_why(L, rc, why);

  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 1, VALUE_PLAN);
  h->is_connected = true;
  te_worker_connect(h->worker, &plan);
  lua_pushboolean(L, true);
  return 1;
}

/***
Changes the terms of a worker that is connected; Redis is told.
@function worker:set_terms
@tparam table terms `description`, `queues`, `grace_ms`; `time_limits`, tasks'
own in ms by their names, and `time_limit_ms` of those without one, 0 for none;
`child_tasks_max`, `child_memory_max` (bytes): beyond them a child is replaced,
0 for never
*/
static int worker_set_terms(lua_State *L) {
  handle *h = check_running(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_argcheck(L, h->is_connected, 1, "is not connected");
  te_terms terms = check_terms(L, 2);
  te_worker_set_terms(h->worker, &terms);
  return 0;
}

/***
Loads the files anew; see `on_reload`. Nothing when it is stopping.
@function worker:reload
*/
static int worker_reload(lua_State *L) {
  te_worker_reload(check_running(L)->worker);
  return 0;
}

/***
How many tasks it has fetched that have not ended.
@function worker:in_hand
@treturn int
*/
static int worker_in_hand(lua_State *L) {
  size_t count = te_worker_in_hand(check_running(L)->worker);
  lua_pushinteger(L, (lua_Integer)count);
  return 1;
}

/***
Stops: warm, or cold, or now that it is stopping at once.
@function worker:stop
@tparam boolean is_cold
*/
static int worker_stop(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  if (h->worker != NULL) te_worker_stop(h->worker, lua_toboolean(L, 2));
  return 0;
}

int te_bind_open_worker(lua_State *L) {
  static const luaL_Reg functions[] = {{"new", worker_new}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"start", worker_start},
      {"connect", worker_connect},
      {"set_terms", worker_set_terms},
      {"reload", worker_reload},
      {"in_hand", worker_in_hand},
      {"stop", worker_stop},
      {NULL, NULL},
  };
  // One that runs is anchored: when the state is closed it is as if killed.
  static const luaL_Reg meta[] = {{NULL, NULL}};
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  lua_pushinteger(L, TE_CLAIMS_MAX);
  lua_setfield(L, -2, "TASKS_MAX");  // in one worker's hands
  return 1;
}
