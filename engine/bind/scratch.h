/*
 * scratch: a byte buffer that belongs to the Lua state, so that a memory
 * error leaks nothing. As an upvalue it is warm at the next call.
 *
 * One in an upvalue is shared by all calls of the function. Fill it and push
 * the string, with nothing that allocates in Lua between: a collection there
 * may run a finalizer that calls the same function.
 */
#ifndef TE_BIND_SCRATCH_H
#define TE_BIND_SCRATCH_H

#include <lua.h>

#include "buf.h"

// Pushes a userdata that holds an empty te_buf, and returns that.
te_buf *te_bind_scratch_push(lua_State *L);

// Pushes what is in it as a string, and empties it: what was large goes back.
void te_bind_scratch_pour(lua_State *L, te_buf *b);

// The buffer in the upvalue of the running function, emptied.
te_buf *te_bind_scratch(lua_State *L, int upvalue);

#endif
