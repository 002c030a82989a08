/***
What guards a process against the code of its tasks: limits of time and of
memory that act inside of it. One Lua state in each process may use it.

Time: at a given moment a function is called within the code that runs, at its
next instruction, and may raise an error there. Memory: what all of the Lua
state takes is counted, and more than the limit is refused, which is a memory
error in the code that asked.
@module taskengine.core.guard
*/
#include "alarm.h"
#include "bind/bind.h"

// While the handler has something better to wait for, it is asked that often.
#define INSTRUCTIONS 100

static const char HANDLER_KEY;
static const char KEEPER_KEY;

// The coroutine that runs, for the signal handler; NULL: none of a task's.
static lua_State *volatile running;
static bool has_alarm;

static struct {
  lua_Alloc before;  // what allocated until it was counted
  void *before_arg;
  size_t used;
  size_t max;         // while is_on
  size_t collected;   // `used` when that was last brought down
  size_t refused;     // so much was, by the last call: it may come again
  bool is_on;         // more than `max` is refused
  bool is_exhausted;  // something was, for good
} memory;

/* Time. */

static void on_due(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  // A coroutine that was interrupted too late, or made meanwhile by one that
  // was, which hands its hook on.
  if (L != running || !te_alarm_is_due()) return;
  bool was_rung = te_alarm_answer();
  lua_rawgetp(L, LUA_REGISTRYINDEX, &HANDLER_KEY);
  lua_call(L, 0, 1);
  bool is_later = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (!is_later) return;
  if (was_rung) te_alarm_ring_here();
  lua_sethook(L, on_due, LUA_MASKCOUNT, INSTRUCTIONS);
}

// In a signal handler, as the program lua5.4 does it for Ctrl-C.
static bool interrupt(void) {
  lua_State *L = running;
  if (L != NULL) lua_sethook(L, on_due, LUA_MASKCOUNT, 1);
  return L != NULL;
}

// This code may be unloaded when the state is closed.
static int keeper_close(lua_State *L) {
  if (has_alarm) te_alarm_stop();
  has_alarm = false;
  if (memory.before != NULL) lua_setallocf(L, memory.before, memory.before_arg);
  memory.before = NULL;
  return 0;
}

static void keep(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &KEEPER_KEY) == LUA_TNIL) {
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, keeper_close);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &KEEPER_KEY);
  }
  lua_pop(L, 1);
}

/***
Sets what is called at the time that @{alarm} sets, and when another process
rings, as a hook of the running coroutine: level 2 is the function that was
interrupted. When it returns true it is called again a little later.
@function on_alarm
@tparam function fn
@treturn[1] boolean true
@return[2] nil
@treturn[2] string message
@treturn[2] string its code: the system has no timer left
*/
static int guard_on_alarm(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &HANDLER_KEY);
  keep(L);
  int rc = has_alarm ? 0 : te_alarm_start(interrupt);
  if (rc < 0) return te_bind_fail(L, rc);
  has_alarm = true;
  lua_pushboolean(L, true);
  return 1;
}

/***
Sets the time of the alarm; needs @{on_alarm} before.
@function alarm
@tparam number ms by @{taskengine.core.loop.now}; 0: never
*/
static int guard_alarm(lua_State *L) {
  lua_Number ms = luaL_checknumber(L, 1);
  luaL_argcheck(L, ms >= 0 && ms < 1e15, 1, "out of range");
  luaL_argcheck(L, has_alarm, 1, "there is no alarm");
  te_alarm_set((uint64_t)(ms * 1000));
  return 0;
}

// The results stay on L; false with an error there instead.
static bool resume(lua_State *L, lua_State *co, int nargs, int *count) {
  if (!lua_checkstack(co, nargs)) {
    lua_pushliteral(L, "too many arguments to resume");
    return false;
  }
  lua_xmove(L, co, nargs);
  lua_State *outer = running;
  running = co;
  // Somebody has rung while nothing ran.
  if (te_alarm_is_rung()) interrupt();
  int status = lua_resume(co, L, nargs, count);
  running = outer;
  bool is_ok = status == LUA_OK || status == LUA_YIELD;
  if (!is_ok) *count = 1;
  if (!lua_checkstack(L, *count + 1)) {
    lua_pop(co, *count);
    lua_pushliteral(L, "too many results to resume");
    return false;
  }
  lua_xmove(co, L, *count);
  return is_ok;
}

/***
Lua's `coroutine.resume`, which also notes what runs: the alarm interrupts
coroutines that were resumed by this one only.
@function resume
@tparam thread co
@param ... as for Lua's
@treturn boolean as Lua's
@return as Lua's
*/
static int guard_resume(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co != NULL, 1, "coroutine");
  int count = 0;
  bool is_ok = resume(L, co, lua_gettop(L) - 1, &count);
  if (!is_ok) count = 1;
  lua_pushboolean(L, is_ok);
  lua_insert(L, -(count + 1));
  return count + 1;
}

/* Memory. */

static bool is_too_much(size_t more) {
  return memory.is_on && memory.used + more > memory.max;
}

// Whether `more` bytes, for a block of `new`, are too much; notes it then.
static bool refuses(size_t more, size_t new) {
  bool is_refused = is_too_much(more);
  bool is_again = memory.refused == new;
  if (memory.refused != 0 && (is_refused || !is_again))
    memory.is_exhausted = true;
  memory.refused = is_refused ? new : 0;
  return is_refused;
}

/*
 * A lua_Alloc, in front of the one that was there before. When it refuses, Lua
 * collects its garbage and asks for the same again; but not where a string is
 * put together: that fails at once.
 */
static void *allocate(void *arg, void *block, size_t old, size_t new) {
  (void)arg;
  // Without a block, `old` says what kind of object the new one is for.
  size_t freed = block == NULL ? 0 : old;
  if (new > freed && refuses(new - freed, new)) return NULL;
  void *moved = memory.before(memory.before_arg, block, old, new);
  if (moved == NULL && new > 0) return NULL;
  memory.used += new - freed;  // modulo 2^64 when it shrinks
  return moved;
}

/***
Begins to count the memory of this Lua state. For good, and once.
@function count_memory
@treturn int how many bytes it takes now
*/
static int guard_count_memory(lua_State *L) {
  if (memory.before != NULL) return luaL_error(L, "memory is counted already");
  keep(L);
  lua_gc(L, LUA_GCCOLLECT);
  memory.used =
      (size_t)lua_gc(L, LUA_GCCOUNT) * 1024 + (size_t)lua_gc(L, LUA_GCCOUNTB);
  memory.collected = memory.used;
  memory.before = lua_getallocf(L, &memory.before_arg);
  lua_setallocf(L, allocate, NULL);
  lua_pushinteger(L, (lua_Integer)memory.used);
  return 1;
}

// Garbage must not be what a task has too little memory for.
static void collect(lua_State *L) {
  if (memory.used <= memory.collected / 2 + memory.max / 2) return;
  lua_gc(L, LUA_GCCOLLECT);
  memory.collected = memory.used < memory.max ? memory.used : memory.max;
}

/***
Sets the limit: more than that is refused from now on. When it begins, or gets
lower, half of what is left may be garbage at most.
@function limit_memory
@tparam int max in bytes; 0: nothing is refused, as at first
*/
static int guard_limit_memory(lua_State *L) {
  lua_Integer max = luaL_checkinteger(L, 1);
  luaL_argcheck(L, max >= 0, 1, "below 0");
  bool is_on = max > 0 && memory.before != NULL;
  bool is_lower = !memory.is_on || (size_t)max < memory.max;
  memory.is_on = false;  // a finalizer may take what it needs
  memory.max = (size_t)max;
  if (is_on && is_lower) collect(L);
  memory.is_on = is_on;
  return 0;
}

/***
What the Lua state takes, once it is counted.
@function used_memory
@treturn int bytes
*/
static int guard_used_memory(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)memory.used);
  return 1;
}

/***
Whether memory was ever refused for good: then an error was raised, and what
that left half done nobody knows.
@function is_exhausted
@treturn boolean
*/
static int guard_is_exhausted(lua_State *L) {
  lua_pushboolean(L, memory.is_exhausted || memory.refused != 0);
  return 1;
}

int te_bind_open_guard(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"on_alarm", guard_on_alarm},
      {"alarm", guard_alarm},
      {"resume", guard_resume},
      {"count_memory", guard_count_memory},
      {"limit_memory", guard_limit_memory},
      {"used_memory", guard_used_memory},
      {"is_exhausted", guard_is_exhausted},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
