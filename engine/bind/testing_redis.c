/***
What lies below a connection to Redis: replies, commands, pauses.
@module taskengine.core.testing.redis
*/
#include "bind/bind.h"
#include "bind/scratch.h"
#include "pace.h"
#include "resp.h"

#define CLASS "taskengine.testing.resp"

typedef struct handle {
  te_resp *resp;
} handle;

static te_resp *check_open(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  luaL_argcheck(L, h->resp != NULL, 1, "closed");
  return h->resp;
}

/***
A new reader of replies.
@function reader
@treturn reader
*/
static int testing_reader(lua_State *L) {
  handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
  h->resp = NULL;
  luaL_setmetatable(L, CLASS);
  h->resp = te_resp_new();
  return 1;
}

/***
Frees the reader. Twice does nothing.
@function reader:close
*/
static int reader_close(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  te_resp_free(h->resp);
  h->resp = NULL;
  return 0;
}

// Pushes { type = ..., value }, so that a spec sees every difference.
static void push_reply(lua_State *L, const te_reply *reply) {
  static const char *const names[] = {
      [TE_REPLY_NIL] = "nil",       [TE_REPLY_INTEGER] = "integer",
      [TE_REPLY_STRING] = "string", [TE_REPLY_STATUS] = "status",
      [TE_REPLY_ERROR] = "error",   [TE_REPLY_ARRAY] = "array",
  };
  luaL_checkstack(L, 4, NULL);
  lua_newtable(L);
  lua_pushstring(L, names[reply->type]);
  lua_setfield(L, -2, "type");
  if (reply->type == TE_REPLY_NIL) return;
  if (reply->type == TE_REPLY_INTEGER) {
    lua_pushinteger(L, reply->integer);
  } else if (reply->type == TE_REPLY_ARRAY) {
    lua_newtable(L);
    for (size_t i = 0; i < reply->count; i++) {
      push_reply(L, reply->item[i]);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
  } else {
    lua_pushlstring(L, reply->text.data, reply->text.size);
  }
  lua_setfield(L, -2, "value");
}

/***
Feeds bytes and takes all replies that are whole.
@function reader:feed
@tparam string bytes
@treturn[1] table the replies, each with `type` and `value`
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error
*/
static int reader_feed(lua_State *L) {
  te_resp *resp = check_open(L);
  const te_reply *reply;
  int rc;
  lua_newtable(L);
  te_resp_feed(resp, te_bind_check_slice(L, 2));
  for (lua_Integer i = 1; (rc = te_resp_next(resp, &reply)) > 0; i++) {
    push_reply(L, reply);
    lua_rawseti(L, -2, i);
  }
  return rc < 0 ? te_bind_fail(L, rc) : 1;
}

/***
The bytes of a command.
@function command
@tparam string ... the command and its arguments
@treturn string
*/
static int testing_command(lua_State *L) {
  int count = lua_gettop(L);
  te_buf *out = te_bind_scratch_push(L);
  te_resp_add_array(out, (size_t)count);
  for (int i = 1; i <= count; i++)
    te_resp_add_string(out, te_bind_check_slice(L, i));
  te_slice bytes = te_buf_slice(out);
  lua_pushlstring(L, bytes.data, bytes.size);
  return 1;
}

/***
The pause before an attempt to connect.
@function backoff_ms
@tparam int failures in a row
@tparam int chance 32 bits
@treturn int
*/
static int testing_backoff_ms(lua_State *L) {
  unsigned failures = (unsigned)luaL_checkinteger(L, 1);
  uint32_t chance = (uint32_t)luaL_checkinteger(L, 2);
  lua_pushinteger(L, (lua_Integer)te_pace_backoff_ms(failures, chance));
  return 1;
}

/***
The same for a server that was there before.
@function reconnect_ms
@tparam int failures in a row
@tparam int away_ms
@tparam int pause_ms_max 0: no limit of the caller's
@tparam int chance 32 bits
@treturn int
*/
static int testing_reconnect_ms(lua_State *L) {
  unsigned failures = (unsigned)luaL_checkinteger(L, 1);
  uint64_t away_ms = (uint64_t)luaL_checkinteger(L, 2);
  uint64_t max_ms = (uint64_t)luaL_checkinteger(L, 3);
  uint32_t chance = (uint32_t)luaL_checkinteger(L, 4);
  uint64_t pause_ms = te_pace_reconnect_ms(failures, away_ms, max_ms, chance);
  lua_pushinteger(L, (lua_Integer)pause_ms);
  return 1;
}

/***
When silence is broken by a PING, and how long its answer may take.
@function ping_ms
@tparam int timeout_ms
@treturn int
@treturn int
*/
static int testing_ping_ms(lua_State *L) {
  uint64_t timeout_ms = (uint64_t)luaL_checkinteger(L, 1);
  lua_pushinteger(L, (lua_Integer)te_pace_ping_ms(timeout_ms));
  lua_pushinteger(L, (lua_Integer)te_pace_pong_ms(timeout_ms));
  return 2;
}

static const luaL_Reg methods[] = {
    {"feed", reader_feed},
    {"close", reader_close},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", reader_close},
    {"__close", reader_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"reader", testing_reader},         {"command", testing_command},
    {"backoff_ms", testing_backoff_ms}, {"reconnect_ms", testing_reconnect_ms},
    {"ping_ms", testing_ping_ms},       {NULL, NULL},
};

int te_bind_open_testing_redis(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
