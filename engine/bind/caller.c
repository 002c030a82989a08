#include "bind/caller.h"

#include "bind/bind.h"

struct te_bind_caller {
  lua_State *L;  // main
  te_redis *const *redis;
  int fn;
};

// What a call ended with, on its way to the function that waits for it.
typedef struct ending {
  const te_bind_caller *to;
  int status;
  const te_reply *reply;
} ending;

int te_bind_take_fn(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return LUA_NOREF;
  lua_pushvalue(L, arg);
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void push_reply(lua_State *L, const te_reply *reply) {
  luaL_checkstack(L, 4, NULL);
  switch (reply->type) {
    case TE_REPLY_NIL: lua_pushboolean(L, 0); break;
    case TE_REPLY_INTEGER: lua_pushinteger(L, reply->integer); break;
    case TE_REPLY_STRING:
    case TE_REPLY_STATUS:
      lua_pushlstring(L, reply->text.data, reply->text.size);
      break;
    case TE_REPLY_ERROR:
      lua_createtable(L, 0, 1);
      lua_pushlstring(L, reply->text.data, reply->text.size);
      lua_setfield(L, -2, "err");
      break;
    case TE_REPLY_ARRAY:
      lua_createtable(L, (int)reply->count, 0);
      for (size_t i = 0; i < reply->count; i++) {
        push_reply(L, reply->item[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
      }
      break;
  }
}

static int push_failure(lua_State *L, const ending *e) {
  const te_redis *redis = *e->to->redis;
  const char *why = te_strerror(e->status);
  const char *detail;
  // While it is down the connection knows more than the code says.
  bool is_open = redis != NULL && e->status != TE_ECLOSED;
  if (is_open && te_redis_why(redis, &detail) != 0) why = detail;
  return te_bind_fail_why(L, e->status, why);
}

static int push_ending(lua_State *L, const ending *e) {
  if (e->status < 0) return push_failure(L, e);
  if (e->reply->type != TE_REPLY_ERROR) {
    push_reply(L, e->reply);
    return 1;
  }
  const char *name = te_errname(TE_EREPLY);
  lua_pushnil(L);
  lua_pushfstring(L, "%s: ", name);
  lua_pushlstring(L, e->reply->text.data, e->reply->text.size);
  lua_concat(L, 2);
  lua_pushstring(L, name);
  return 3;
}

// (ending)
static int run_caller(lua_State *L) {
  const ending *e = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, e->to->fn);
  luaL_unref(L, LUA_REGISTRYINDEX, e->to->fn);
  lua_call(L, push_ending(L, e), 0);
  return 0;
}

te_bind_caller *te_bind_caller_new(lua_State *L, int fn,
                                   te_redis *const *redis) {
  int ref = te_bind_take_fn(L, fn);
  te_bind_caller *to = te_alloc(sizeof(*to));
  *to = (te_bind_caller){.L = te_bind_main(L), .redis = redis, .fn = ref};
  return to;
}

void te_bind_on_reply(void *caller, int status, const te_reply *reply) {
  te_bind_caller *to = caller;
  ending e = {to, status, reply};
  if (to->fn != LUA_NOREF) te_bind_run(to->L, run_caller, &e);
  te_free(to);
}
