/***
Tasks in a master's hands, and one child's hand.
@module taskengine.core.testing.hand
*/
#include <string.h>

#include "bind/bind.h"
#include "bind/testing_claims.h"
#include "hand.h"

#define TASK "taskengine.testing.task"
#define HAND "taskengine.testing.hand"

typedef struct task_handle {
  te_task *task;
} task_handle;

// Its user values: the claims, and the hand whose index it shares, if any.
typedef struct hand_handle {
  te_hand hand;
  te_claims *claims;
  te_hand_index index;
} hand_handle;

static te_task *check_task(lua_State *L, int arg) {
  return ((task_handle *)luaL_checkudata(L, arg, TASK))->task;
}

// (task or nothing) -> field, the operation that ends it, its record
static int push_end(lua_State *L, const te_task *t) {
  char end = (char)t->end;
  lua_pushlstring(L, t->field, TE_FIELD_BYTES);
  if (t->end == TE_END_NONE) return 1;
  lua_pushlstring(L, &end, 1);
  if (t->record == NULL) return 2;
  lua_pushlstring(L, t->record, t->record_size);
  return 3;
}

static int push_new_task(lua_State *L, te_task *t) {
  if (t == NULL) return 0;
  task_handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
  h->task = t;
  luaL_setmetatable(L, TASK);
  return 1;
}

/***
A task, as it is fetched.
@function task
@tparam string envelope
@tparam int delivery
@treturn ?task nil when it is malformed
*/
static int hand_task(lua_State *L) {
  te_slice envelope = te_bind_check_slice(L, 1);
  uint32_t delivery = (uint32_t)luaL_checkinteger(L, 2);
  return push_new_task(L, te_task_new(envelope, delivery));
}

/***
A task whose envelope is malformed, as it is fetched.
@function malformed
@tparam string envelope
@tparam int delivery
@treturn ?task nil when there is not even an id
*/
static int hand_malformed(lua_State *L) {
  te_slice envelope = te_bind_check_slice(L, 1);
  uint32_t delivery = (uint32_t)luaL_checkinteger(L, 2);
  return push_new_task(L, te_task_malformed(envelope, delivery));
}

static int task_free(lua_State *L) {
  task_handle *h = luaL_checkudata(L, 1, TASK);
  te_task_free(h->task);
  h->task = NULL;
  return 0;
}

/***
How it ends.
@function task:ending
@treturn string field
@treturn ?string the operation of te1_finish
@treturn ?string record
*/
static int task_ending(lua_State *L) {
  return push_end(L, check_task(L, 1));
}

/***
Sets what its child reports.
@function task:set_outcome
@tparam string record
*/
static int task_set_outcome(lua_State *L) {
  te_task_set_outcome(check_task(L, 1), te_bind_check_slice(L, 2));
  return 0;
}

/***
Looks at its time limit.
@function task:check_limit
@tparam int taken_ms 0: it has not begun
@tparam boolean is_executing
@tparam int now_ms
@treturn string `"left"`, `"cancel"` or `"kill"`
@treturn int when to look again; 0: never
*/
static int task_check_limit(lua_State *L) {
  static const char *const names[] = {"left", "cancel", "kill"};
  te_task *t = check_task(L, 1);
  uint64_t taken = (uint64_t)luaL_checkinteger(L, 2);
  uint64_t now = (uint64_t)luaL_checkinteger(L, 4);
  te_time time = te_task_check_limit(t, taken, lua_toboolean(L, 3), now);
  lua_pushstring(L, names[time]);
  lua_pushinteger(L, (lua_Integer)t->limit_ms);
  return 2;
}

/***
Sets when its time limit is looked at, as an offer does.
@function task:set_limit
@tparam int ms
*/
static int task_set_limit(lua_State *L) {
  check_task(L, 1)->limit_ms = (uint64_t)luaL_checkinteger(L, 2);
  return 0;
}

/***
Sets the deadline of all its attempts.
@function task:set_deadline
@tparam int ms
*/
static int task_set_deadline(lua_State *L) {
  check_task(L, 1)->deadline_ms = (uint64_t)luaL_checkinteger(L, 2);
  return 0;
}

/***
When its time is up.
@function task:limit
@tparam int begun_ms
@treturn int 0: never
*/
static int task_limit(lua_State *L) {
  uint64_t begun_ms = (uint64_t)luaL_checkinteger(L, 2);
  uint64_t limit_ms = te_task_limit(check_task(L, 1), begun_ms);
  lua_pushinteger(L, (lua_Integer)limit_ms);
  return 1;
}

/***
Does what it wanted for the case that its time is over.
@function task:execute_will
@tparam string will
*/
static int task_execute_will(lua_State *L) {
  te_task_execute_will(check_task(L, 1), te_bind_check_slice(L, 2));
  return 0;
}

/***
It was asked to end.
@function task:doom
@tparam int ms when it is ended
*/
static int task_doom(lua_State *L) {
  te_task_doom(check_task(L, 1), (uint64_t)luaL_checkinteger(L, 2));
  return 0;
}

/***
It was revoked.
@function task:revoke
@tparam boolean has_begun
*/
static int task_revoke(lua_State *L) {
  te_task_revoke(check_task(L, 1), lua_toboolean(L, 2));
  return 0;
}

/* The hand. */

static hand_handle *check_hand(lua_State *L) {
  return luaL_checkudata(L, 1, HAND);
}

static uint64_t check_now(lua_State *L, int arg) {
  return (uint64_t)luaL_checkinteger(L, arg);
}

static te_task *check_held(lua_State *L, int arg) {
  te_task *t = te_hand_find(&check_hand(L)->hand, te_bind_check_token(L, arg));
  luaL_argcheck(L, t != NULL, arg, "not in the hand");
  return t;
}

/***
An empty hand.
@function new
@tparam claims claims
@tparam int child
@tparam int waiting_max
@tparam[opt] hand beside another one of the same worker
@treturn hand
*/
static int hand_new(lua_State *L) {
  te_claims *claims = te_bind_check_claims(L, 1);
  unsigned child = (unsigned)luaL_checkinteger(L, 2);
  size_t waiting_max = (size_t)luaL_checkinteger(L, 3);
  hand_handle *beside =
      lua_isnoneornil(L, 4) ? NULL : luaL_checkudata(L, 4, HAND);
  lua_settop(L, 4);
  hand_handle *h = lua_newuserdatauv(L, sizeof(*h), 2);
  h->claims = claims;
  memset(&h->index, 0, sizeof(h->index));
  te_hand_init(&h->hand, child, waiting_max,
               beside != NULL ? beside->hand.index : &h->index);
  luaL_setmetatable(L, HAND);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, -2, 2);
  return 1;
}

static int hand_free(lua_State *L) {
  hand_handle *h = check_hand(L);
  te_list_each (link, &h->hand.tasks)
    te_task_free(te_container_of(link, te_task, link));
  te_list_init(&h->hand.tasks);
  return 0;
}

/***
How many more tasks it is to get.
@function hand:room
@tparam int slots
@tparam number mean_us
@treturn int
*/
static int hand_room(lua_State *L) {
  const hand_handle *h = check_hand(L);
  unsigned slots = (unsigned)luaL_checkinteger(L, 2);
  size_t n = te_hand_room(&h->hand, slots, luaL_checknumber(L, 3));
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/***
How many tasks take a slot, or wait for one.
@function hand:occupied
@treturn int
*/
static int hand_occupied(lua_State *L) {
  size_t n = te_hand_occupied(&check_hand(L)->hand);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/***
Offers a task.
@function hand:offer
@tparam string envelope
@tparam int now_ms
@treturn int token
*/
static int hand_offer(lua_State *L) {
  hand_handle *h = check_hand(L);
  te_slice envelope = te_bind_check_slice(L, 2);
  uint64_t now = check_now(L, 3);
  te_task *t = te_task_new(envelope, 1);
  luaL_argcheck(L, t != NULL, 2, "malformed");
  te_hand_offer(&h->hand, h->claims, t, now);
  te_bind_push_token(L, t->token);
  return 1;
}

/***
Whether the hand has a task.
@function hand:find
@tparam int token
@treturn boolean
*/
static int hand_find(lua_State *L) {
  const te_hand *h = &check_hand(L)->hand;
  lua_pushboolean(L, te_hand_find(h, te_bind_check_token(L, 2)) != NULL);
  return 1;
}

/***
Notes that a task waits for another, or does no more.
@function hand:set_waits
@tparam int token
@tparam boolean waits
*/
static int hand_set_waits(lua_State *L) {
  te_task *t = check_held(L, 2);
  te_hand_set_waits(&check_hand(L)->hand, t, lua_toboolean(L, 3));
  return 0;
}

/***
Ends a task with an outcome.
@function hand:finish
@tparam int token
@tparam int now_ms
*/
static int hand_finish(lua_State *L) {
  te_task *t = check_held(L, 2);
  te_hand_end(&check_hand(L)->hand, t, check_now(L, 3));
  te_task_free(t);
  return 0;
}

// What came out of the hand, or nothing.
static int push_out(lua_State *L, te_task *t) {
  if (t == NULL) return 0;
  int n = push_end(L, t);
  te_task_free(t);
  return n;
}

/***
Takes back the last task that has not begun.
@function hand:withdraw
@treturn ?string field
*/
static int hand_withdraw(lua_State *L) {
  hand_handle *h = check_hand(L);
  return push_out(L, te_hand_withdraw(&h->hand, h->claims));
}

/***
Takes back this task, unless it has begun.
@function hand:withdraw_task
@tparam int token
@treturn ?string field
*/
static int hand_withdraw_task(lua_State *L) {
  hand_handle *h = check_hand(L);
  te_task *t = check_held(L, 2);
  if (!te_hand_withdraw_task(&h->hand, h->claims, t)) return 0;
  return push_out(L, t);
}

/***
Takes a task that has ended by its claim.
@function hand:take_ended
@tparam int now_ms
@treturn ?string field
@treturn ?string operation
@treturn ?string record
*/
static int hand_take_ended(lua_State *L) {
  hand_handle *h = check_hand(L);
  return push_out(L, te_hand_take_ended(&h->hand, h->claims, check_now(L, 2)));
}

/***
Says how the tasks of a dead child end.
@function hand:judge
@tparam boolean is_killed by the master
@tparam string why
@tparam[opt=1] int pid
@treturn table from fields to operations
*/
static int hand_judge(lua_State *L) {
  hand_handle *h = check_hand(L);
  const char *why = luaL_checkstring(L, 3);
  int pid = (int)luaL_optinteger(L, 4, 1);
  te_hand_judge(&h->hand, h->claims, lua_toboolean(L, 2), pid, why);
  lua_newtable(L);
  te_list_each (link, &h->hand.tasks) {
    const te_task *t = te_container_of(link, te_task, link);
    char end = (char)t->end;
    lua_pushlstring(L, t->field, TE_FIELD_BYTES);
    lua_pushlstring(L, &end, 1);
    lua_rawset(L, -3);
  }
  return 1;
}

/***
Takes the first task.
@function hand:take_first
@tparam int now_ms
@treturn ?string field
@treturn ?string operation
@treturn ?string record
*/
static int hand_take_first(lua_State *L) {
  return push_out(L, te_hand_take_first(&check_hand(L)->hand, check_now(L, 2)));
}

/***
Whether it has been slow, and whether tasks wait behind a long one.
@function hand:check_stall
@tparam int slots
@tparam int now_ms
@treturn boolean stalled
@treturn boolean slow
*/
static int hand_check_stall(lua_State *L) {
  te_hand *h = &check_hand(L)->hand;
  unsigned slots = (unsigned)luaL_checkinteger(L, 2);
  uint64_t now = check_now(L, 3);
  lua_pushboolean(L, te_hand_check_stall(h, slots, now));
  lua_pushboolean(L, te_hand_is_slow(h, now));
  return 2;
}

/***
Whether so many tasks wait that no other can begin; true once.
@function hand:check_clogged
@tparam int slots
@treturn boolean
*/
static int hand_check_clogged(lua_State *L) {
  unsigned slots = (unsigned)luaL_checkinteger(L, 2);
  lua_pushboolean(L, te_hand_check_clogged(&check_hand(L)->hand, slots));
  return 1;
}

static const luaL_Reg task_methods[] = {
    {"ending", task_ending},
    {"set_outcome", task_set_outcome},
    {"set_limit", task_set_limit},
    {"check_limit", task_check_limit},
    {"doom", task_doom},
    {"revoke", task_revoke},
    {"set_deadline", task_set_deadline},
    {"limit", task_limit},
    {"execute_will", task_execute_will},
    {NULL, NULL},
};

static const luaL_Reg task_meta[] = {
    {"__gc", task_free},
    {"__close", task_free},
    {NULL, NULL},
};

static const luaL_Reg hand_methods[] = {
    {"room", hand_room},
    {"occupied", hand_occupied},
    {"offer", hand_offer},
    {"find", hand_find},
    {"set_waits", hand_set_waits},
    {"finish", hand_finish},
    {"withdraw", hand_withdraw},
    {"withdraw_task", hand_withdraw_task},
    {"take_ended", hand_take_ended},
    {"judge", hand_judge},
    {"take_first", hand_take_first},
    {"check_stall", hand_check_stall},
    {"check_clogged", hand_check_clogged},
    {NULL, NULL},
};

static const luaL_Reg hand_meta[] = {
    {"__gc", hand_free},
    {"__close", hand_free},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", hand_new},
    {"task", hand_task},
    {"malformed", hand_malformed},
    {NULL, NULL},
};

int te_bind_open_testing_hand(lua_State *L) {
  te_bind_class(L, TASK, task_methods, task_meta);
  te_bind_class(L, HAND, hand_methods, hand_meta);
  luaL_newlib(L, functions);
  lua_pushinteger(L, (lua_Integer)TE_HAND_BYTES_MAX);
  lua_setfield(L, -2, "BYTES_MAX");
  return 1;
}
