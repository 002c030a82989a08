/*
 * child_task: what the two files of the binding of a child's channel share.
 */
#ifndef TE_BIND_CHILD_TASK_H
#define TE_BIND_CHILD_TASK_H

#include <lauxlib.h>
#include <lua.h>

#include "child.h"
#include "wire.h"

// Of functions that have the channel as their upvalue. Raises before it is
// opened.
te_child *te_bind_child(lua_State *L);

te_token te_bind_check_child_task(lua_State *L, int arg);

extern const luaL_Reg te_bind_child_tasks[];

#endif
