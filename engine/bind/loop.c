/***
The event loop: timers, signals, and running it.

Each Lua state has one loop. Functions handed to it are called on the main
thread of the state; an error in one does not stop the loop, see
@{on_error}.
@module taskengine.core.loop
*/
#include <string.h>

#include "bind/bind.h"
#include "heap.h"
#include "list.h"

#define TIMER_CLASS  "taskengine.timer"
#define DELAY_MS_MAX 1e15  // 30,000 years; in microseconds it fits 64 bits

/*
 * Tasks sleep a lot, so a timer must be cheap: it is a userdata in a heap of
 * ours, and one uv_timer waits for the first of them. A timer needs no close
 * callback and no finalizer, because it is in the heap only while anchored.
 *
 * What is due at once runs from a uv_idle: the loop turns, and reads its
 * sockets, between one and the next. A uv_timer of 0 ms that starts another
 * would not let it.
 */
typedef struct scheduler {
  lua_State *L;  // main
  uv_timer_t later;
  uv_idle_t soon;
  te_heap heap;
  uint64_t started;   // timers so far
  uint64_t armed_us;  // when `later` goes off; 0 when it is stopped
  bool is_open;       // the handles are the loop's
  bool is_closed;
} scheduler;

typedef struct timer {
  te_heap_node node;
  scheduler *owner;
  uint64_t due_us;
  uint64_t order;     // first in, first out among equals
  uint64_t every_us;  // 0: once
  int anchor;         // reference in the registry while in the heap
} timer;

static const char SCHEDULER_KEY;

// Not te_clock_us: the loop has to meet the real time also in specs.
static uint64_t now_us(void) {
  return uv_hrtime() / 1000;
}

static timer *first_timer(scheduler *s) {
  te_heap_node *node = te_heap_first(&s->heap);
  return node == NULL ? NULL : te_container_of(node, timer, node);
}

static bool comes_before(const te_heap_node *a, const te_heap_node *b) {
  const timer *x = te_container_of_const(a, timer, node);
  const timer *y = te_container_of_const(b, timer, node);
  return x->due_us != y->due_us ? x->due_us < y->due_us : x->order < y->order;
}

static void on_later(uv_timer_t *handle);
static void on_soon(uv_idle_t *handle);

// Sees to it that the loop wakes for the first timer.
static void arm(scheduler *s) {
  timer *t = first_timer(s);
  uint64_t now = now_us();
  if (t != NULL && t->due_us <= now) {
    uv_idle_start(&s->soon, on_soon);
    return;
  }
  uv_idle_stop(&s->soon);
  if (t == NULL) {
    uv_timer_stop(&s->later);
    s->armed_us = 0;
  } else if (t->due_us != s->armed_us) {
    uv_update_time(s->later.loop);
    uv_timer_start(&s->later, on_later, (t->due_us - now + 999) / 1000, 0);
    s->armed_us = t->due_us;
  }
}

static void drop(timer *t) {
  te_heap_remove(&t->owner->heap, &t->node);
  luaL_unref(t->owner->L, LUA_REGISTRYINDEX, t->anchor);
}

static void again(timer *t, uint64_t now) {
  t->due_us += t->every_us;
  if (t->due_us <= now) t->due_us = now + t->every_us;  // late: none is made up
  te_heap_update(&t->owner->heap, &t->node);
}

// Those started meanwhile wait for the next turn.
static void run_due(scheduler *s) {
  lua_State *L = s->L;
  uint64_t now = now_us();
  uint64_t started = s->started;
  timer *t = first_timer(s);
  while (t != NULL && t->due_us <= now && t->order <= started) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, t->anchor);
    lua_getiuservalue(L, -1, 1);
    if (t->every_us == 0) {
      drop(t);
    } else {
      again(t, now);
    }
    te_bind_call(L, 0);
    lua_pop(L, 1);
    t = first_timer(s);
  }
  arm(s);
}

static void on_later(uv_timer_t *handle) {
  scheduler *s = handle->data;
  s->armed_us = 0;
  run_due(s);
}

static void on_soon(uv_idle_t *handle) {
  run_due(handle->data);
}

static scheduler *find_scheduler(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &SCHEDULER_KEY);
  scheduler *s = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (s->is_closed) luaL_error(L, "this Lua state is being closed");
  if (!s->is_open) {
    uv_loop_t *loop = te_bind_loop(L);
    uv_timer_init(loop, &s->later);
    uv_idle_init(loop, &s->soon);
    s->later.data = s->soon.data = s;
    s->is_open = true;
  }
  return s;
}

static int scheduler_close(lua_State *L) {
  scheduler *s = lua_touserdata(L, 1);
  s->is_closed = true;
  te_heap_free(&s->heap);
  // Their memory lasts until every finalizer has run, the loop's is one.
  if (s->is_open) uv_close((uv_handle_t *)&s->later, NULL);
  if (s->is_open) uv_close((uv_handle_t *)&s->soon, NULL);
  return 0;
}

static void make_scheduler(lua_State *L) {
  bool exists = lua_rawgetp(L, LUA_REGISTRYINDEX, &SCHEDULER_KEY) != LUA_TNIL;
  lua_pop(L, 1);
  if (exists) return;  // opened a second time
  scheduler *s = lua_newuserdatauv(L, sizeof(*s), 0);
  memset(s, 0, sizeof(*s));
  s->L = te_bind_main(L);
  te_heap_init(&s->heap, comes_before);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, scheduler_close);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &SCHEDULER_KEY);
}

static uint64_t check_delay_us(lua_State *L, int arg) {
  lua_Number ms = luaL_checknumber(L, arg);
  luaL_argcheck(L, ms >= 0 && ms <= DELAY_MS_MAX, arg, "not a delay");
  return (uint64_t)(ms * 1000);
}

// Starts a timer for the function at `function`; leaves it on the stack.
static void start(lua_State *L, int function, uint64_t delay_us,
                  uint64_t every_us) {
  scheduler *s = find_scheduler(L);
  timer *t = lua_newuserdatauv(L, sizeof(*t), 1);
  memset(t, 0, sizeof(*t));
  t->owner = s;
  t->due_us = now_us() + delay_us;
  t->order = ++s->started;
  t->every_us = every_us;
  luaL_setmetatable(L, TIMER_CLASS);
  lua_pushvalue(L, function);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, -1);
  t->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  te_heap_add(&s->heap, &t->node);
  if (first_timer(s) == t) arm(s);
}

/***
Calls a function later. The timer keeps the loop alive until it has gone off
or was closed; the handle need not be kept.
@function timer
@tparam number ms milliseconds from now, 0 or more; never goes off earlier
@tparam function fn called without arguments
@tparam[opt] number every milliseconds to the next calls; once when missing
@treturn timer a handle with `:close()`
@raise when the delay is no number of 0 or more
*/
static int loop_timer(lua_State *L) {
  uint64_t delay_us = check_delay_us(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  uint64_t every_us = lua_isnoneornil(L, 3) ? 0 : check_delay_us(L, 3);
  luaL_argcheck(L, lua_isnoneornil(L, 3) || every_us > 0, 3, "not above 0");
  start(L, 2, delay_us, every_us);
  return 1;
}

/***
Calls a function in the next turn of the loop, behind those deferred before.
@function defer
@tparam function fn called without arguments
*/
static int loop_defer(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  start(L, 1, 0, 0);
  return 0;
}

/***
Stops a timer. Closing it twice, or after it went off, does nothing.
@function timer:close
*/
static int timer_close(lua_State *L) {
  timer *t = luaL_checkudata(L, 1, TIMER_CLASS);
  scheduler *s = t->owner;
  if (s->is_closed || !te_heap_holds(&t->node)) return 0;
  bool was_first = first_timer(s) == t;
  drop(t);
  if (was_first) arm(s);
  return 0;
}

/***
Runs the loop.
@function run
@tparam[opt="default"] string mode `"default"`: until nothing keeps it alive
or @{stop} is called; `"once"`: one turn, waiting for an event if there is
none yet; `"nowait"`: one turn without waiting
@treturn boolean whether something still keeps the loop alive
@raise inside a function that the loop calls
*/
static int loop_run(lua_State *L) {
  static const char *const names[] = {"default", "once", "nowait", NULL};
  static const uv_run_mode modes[] = {UV_RUN_DEFAULT, UV_RUN_ONCE,
                                      UV_RUN_NOWAIT};
  uv_run_mode mode = modes[luaL_checkoption(L, 1, "default", names)];
  lua_pushboolean(L, te_bind_run_loop(L, mode));
  return 1;
}

/***
Makes @{run} return after the present turn.
@function stop
*/
static int loop_stop(lua_State *L) {
  uv_stop(te_bind_loop(L));
  return 0;
}

/***
Whether a timer, a connection or the like keeps the loop alive.
@function alive
@treturn boolean
*/
static int loop_alive(lua_State *L) {
  lua_pushboolean(L, uv_loop_alive(te_bind_loop(L)));
  return 1;
}

/***
The time that timers go by: it never steps back, and its zero means nothing.
@function now
@treturn int milliseconds
*/
static int loop_now(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)(now_us() / 1000));
  return 1;
}

/***
Sets who hears of an error in a function that the loop called. Without it the
error is written to stderr.
@function on_error
@tparam[opt] function fn called with the error: a string with a traceback, or
the error object
*/
static int loop_on_error(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  te_bind_set_on_error(L, 1);
  return 0;
}

static const luaL_Reg timer_methods[] = {
    {"close", timer_close},
    {NULL, NULL},
};

// No __gc: a timer that is pending is anchored, another holds nothing.
static const luaL_Reg timer_meta[] = {
    {"__close", timer_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"timer", loop_timer},       {"defer", loop_defer}, {"run", loop_run},
    {"stop", loop_stop},         {"alive", loop_alive}, {"now", loop_now},
    {"on_error", loop_on_error}, {NULL, NULL},
};

int te_bind_open_loop(lua_State *L) {
  make_scheduler(L);
  te_bind_class(L, TIMER_CLASS, timer_methods, timer_meta);
  luaL_newlib(L, functions);
  te_bind_open_signal(L);
  lua_setfield(L, -2, "signal");
  return 1;
}
