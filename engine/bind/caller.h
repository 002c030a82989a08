/*
 * caller: Lua functions that wait for a reply from Redis.
 */
#ifndef TE_BIND_CALLER_H
#define TE_BIND_CALLER_H

#include <lua.h>

#include "redis.h"

// A reference to the function at `arg`; LUA_NOREF when it is nil.
int te_bind_take_fn(lua_State *L, int arg);

typedef struct te_bind_caller te_bind_caller;

/*
 * Keeps the function at `fn`, which may be nil, for one reply. *redis says
 * why a connection is down; it may become NULL, and must be there until then.
 */
te_bind_caller *te_bind_caller_new(lua_State *L, int fn,
                                   te_redis *const *redis);

// The te_redis_reply_cb for it: calls the function, and frees.
void te_bind_on_reply(void *caller, int status, const te_reply *reply);

#endif
