/***
What a process that runs tasks says of them.
@module taskengine.core.child
*/
#include "bind/child_task.h"

#include "bind/bind.h"

/***
Says what is to become of a task if its time is over while it runs.
@function bequeath
@tparam int token
@tparam string will the head of a verdict, see @{taskengine.verdict}
*/
static int child_bequeath(lua_State *L) {
  te_token token = te_bind_check_child_task(L, 1);
  te_child_bequeath(te_bind_child(L), token, te_bind_check_slice(L, 2));
  return 0;
}

/***
Ends a task. The next one may begin within this call.
@function done
@tparam int token
@tparam string record its outcome, a verdict, or `"N"`: no such task here
*/
static int child_done(lua_State *L) {
  te_token token = te_bind_check_child_task(L, 1);
  te_slice record = te_bind_check_slice(L, 2);
  luaL_argcheck(L, record.size > 0, 2, "empty");
  luaL_argcheck(L, record.size <= 2 * (size_t)TE_RESULT_BYTES_MAX, 2,
                "too large");
  te_child_done(te_bind_child(L), token, record);
  return 0;
}

/***
Says that a task waits for another one's outcome, and frees its slot; or that
it goes on.
@function waits
@tparam int token
@tparam boolean whether
*/
static int child_waits(lua_State *L) {
  te_child_set_waits(te_bind_child(L), te_bind_check_child_task(L, 1),
                     lua_toboolean(L, 2));
  return 0;
}

/***
Says in what state a task is, as it sees it itself. Goes out at once.
@function state
@tparam int token
@tparam string state MessagePack, of `STATE_BYTES_MAX` at most
*/
static int child_state(lua_State *L) {
  te_token token = te_bind_check_child_task(L, 1);
  te_slice state = te_bind_check_slice(L, 2);
  luaL_argcheck(L, state.size > 0, 2, "empty");
  luaL_argcheck(L, state.size <= TE_WIRE_STATE_BYTES_MAX, 2, "too large");
  te_child_state(te_bind_child(L), token, state);
  return 0;
}

/***
Notes whose code runs from now on, for the case that the process dies.
@function execute
@tparam ?int token nil for none
@treturn boolean whether the master asks that task to end
*/
static int child_execute(lua_State *L) {
  te_child *c = te_bind_child(L);
  bool is_asked = false;
  if (lua_isnoneornil(L, 1)) {
    te_child_execute(c, NULL);
  } else {
    te_token token = te_bind_check_child_task(L, 1);
    te_child_execute(c, &token);
    is_asked = te_child_is_asked(c, token);
  }
  lua_pushboolean(L, is_asked);
  return 1;
}

/***
Whether the master asks a task to end; it knows at once, unlike @{on_cancel}.
@function is_asked
@tparam int token
@treturn boolean
*/
static int child_is_asked(lua_State *L) {
  te_token token = te_bind_check_child_task(L, 1);
  lua_pushboolean(L, te_child_is_asked(te_bind_child(L), token));
  return 1;
}

const luaL_Reg te_bind_child_tasks[] = {
    {"bequeath", child_bequeath},
    {"done", child_done},
    {"waits", child_waits},
    {"state", child_state},
    {"execute", child_execute},
    {"is_asked", child_is_asked},
    {NULL, NULL},
};
