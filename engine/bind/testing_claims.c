/***
Claims, from both sides.
@module taskengine.core.testing.claims
*/
#include "bind/testing_claims.h"

#include <string.h>
#include <unistd.h>

#include "bind/bind.h"
#include "verdict.h"

typedef struct handle {
  te_claims *claims;  // NULL once it is closed
} handle;

#define CLASS "taskengine.testing.claims"

te_claims *te_bind_check_claims(lua_State *L, int arg) {
  const handle *h = luaL_checkudata(L, arg, CLASS);
  luaL_argcheck(L, h->claims != NULL, arg, "is closed");
  return h->claims;
}

void te_bind_push_token(lua_State *L, te_token token) {
  uint64_t n = (uint64_t)token.generation << 32 | token.claim;
  lua_pushinteger(L, (lua_Integer)n);
}

te_token te_bind_check_token(lua_State *L, int arg) {
  uint64_t n = (uint64_t)luaL_checkinteger(L, arg);
  te_token token = {(uint32_t)n, (uint32_t)(n >> 32)};
  return token;
}

static handle *new_handle(lua_State *L) {
  handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
  h->claims = NULL;
  luaL_setmetatable(L, CLASS);
  return h;
}

static unsigned check_child(lua_State *L, int arg) {
  lua_Integer n = luaL_checkinteger(L, arg);
  luaL_argcheck(L, n >= 0 && n < TE_CHILDREN_MAX, arg, "out of range");
  return (unsigned)n;
}

static const char *check_sized(lua_State *L, int arg, size_t size) {
  te_slice s = te_bind_check_slice(L, arg);
  luaL_argcheck(L, s.size == size, arg, "not of the right length");
  return s.data;
}

/***
Makes claims, as a master does.
@function create
@tparam ?string path nil for a file without a name
@treturn[1] claims
@return[2] nil
@treturn[2] string message
@treturn[2] string its code
*/
static int claims_create(lua_State *L) {
  const char *path = luaL_optstring(L, 1, NULL);
  handle *h = new_handle(L);
  int rc = te_claims_create(path, &h->claims);
  return rc < 0 ? te_bind_fail(L, rc) : 1;
}

/***
Opens what a dead master has left.
@function open_dead
@tparam string path
@treturn[1] claims
@return[2] nil
@treturn[2] string message
@treturn[2] string `"EBUSY"` when it is not dead
*/
static int claims_open_dead(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  handle *h = new_handle(L);
  int rc = te_claims_open_dead(path, &h->claims);
  return rc < 0 ? te_bind_fail(L, rc) : 1;
}

/***
Removes a draft that nobody locks.
@function sweep_draft
@tparam string path
@treturn[1] boolean true
@return[2] nil
@treturn[2] string message
@treturn[2] string `"EBUSY"` when its maker is about to give it its name
*/
static int claims_sweep_draft(lua_State *L) {
  int rc = te_claims_sweep_draft(luaL_checkstring(L, 1));
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushboolean(L, true);
  return 1;
}

/***
Maps the same file once more, as a child does.
@function claims:attach
@treturn[1] claims
@return[2] nil
@treturn[2] string message
@treturn[2] string its code
*/
static int claims_attach(lua_State *L) {
  const te_claims *c = te_bind_check_claims(L, 1);
  handle *h = new_handle(L);
  int rc = te_claims_attach(dup(te_claims_fd(c)), &h->claims);
  return rc < 0 ? te_bind_fail(L, rc) : 1;
}

/***
Closes them; their file is removed.
@function claims:close
*/
static int claims_close(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  te_claims_free(h->claims);
  h->claims = NULL;
  return 0;
}

/***
Leaves the file there when they are closed, as a master does that dies.
@function claims:keep_file
*/
static int claims_keep_file(lua_State *L) {
  te_claims_keep_file(te_bind_check_claims(L, 1));
  return 0;
}

/***
Names what they serve.
@function claims:set_service
@tparam string service 16 characters
*/
static int claims_set_service(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  te_claims_set_service(c, check_sized(L, 2, TE_CLAIMS_SERVICE_BYTES));
  return 0;
}

/***
Whether they served this.
@function claims:serve
@tparam string service 16 characters
@treturn boolean
*/
static int claims_serve(lua_State *L) {
  const te_claims *c = te_bind_check_claims(L, 1);
  const char *service = check_sized(L, 2, TE_CLAIMS_SERVICE_BYTES);
  lua_pushboolean(L, te_claims_serve(c, service));
  return 1;
}

/***
Names the incarnation that the claims belong to.
@function claims:set_owner
@tparam string wid 12 characters
*/
static int claims_set_owner(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  te_claims_set_owner(c, check_sized(L, 2, TE_ID_PRODUCER_BYTES));
  return 0;
}

/***
Whose they are.
@function claims:owner
@treturn string
*/
static int claims_owner(lua_State *L) {
  char wid[TE_ID_PRODUCER_BYTES];
  te_claims_owner(te_bind_check_claims(L, 1), wid);
  lua_pushlstring(L, wid, sizeof(wid));
  return 1;
}

/***
Offers a task.
@function claims:offer
@tparam string field 24 bytes
@treturn int token
*/
static int claims_offer(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  te_bind_push_token(L, te_claims_offer(c, check_sized(L, 2, TE_FIELD_BYTES)));
  return 1;
}

/***
How many are free.
@function claims:free_count
@treturn int
*/
static int claims_free_count(lua_State *L) {
  size_t n = te_claims_free_count(te_bind_check_claims(L, 1));
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/***
Takes an offer back.
@function claims:withdraw
@tparam int token
@treturn boolean false when a child has taken it
*/
static int claims_withdraw(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  lua_pushboolean(L, te_claims_withdraw(c, te_bind_check_token(L, 2)));
  return 1;
}

/***
Takes an offer, as a child does.
@function claims:take
@tparam int token
@treturn boolean false when it is not there any more
*/
static int claims_take(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  lua_pushboolean(L, te_claims_take(c, te_bind_check_token(L, 2)));
  return 1;
}

/***
Asks a task that was taken to end.
@function claims:ask
@tparam int token
*/
static int claims_ask(lua_State *L) {
  te_claims_ask(te_bind_check_claims(L, 1), te_bind_check_token(L, 2));
  return 0;
}

/***
Whether a task is asked to end, as a child sees it.
@function claims:is_asked
@tparam int token
@treturn boolean
*/
static int claims_is_asked(lua_State *L) {
  const te_claims *c = te_bind_check_claims(L, 1);
  lua_pushboolean(L, te_claims_is_asked(c, te_bind_check_token(L, 2)));
  return 1;
}

/***
When it was taken.
@function claims:taken_at
@tparam int token
@treturn int ms; 0 unless it is taken
*/
static int claims_taken_at(lua_State *L) {
  const te_claims *c = te_bind_check_claims(L, 1);
  uint64_t ms = te_claims_taken_at(c, te_bind_check_token(L, 2));
  lua_pushinteger(L, (lua_Integer)ms);
  return 1;
}

/***
Leaves an outcome, as a child does.
@function claims:finish
@tparam int token
@tparam string record
@treturn boolean false when it is too long
*/
static int claims_finish(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  te_token token = te_bind_check_token(L, 2);
  lua_pushboolean(L, te_claims_end(c, token, te_bind_check_slice(L, 3)));
  return 1;
}

/***
Leaves an outcome or a verdict, as far as there is room.
@function claims:leave
@tparam int token
@tparam string record
@treturn boolean whether all of it is there
*/
static int claims_leave(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  te_token token = te_bind_check_token(L, 2);
  lua_pushboolean(L, te_verdict_leave(c, token, te_bind_check_slice(L, 3)));
  return 1;
}

/***
Leaves a will, as a child does.
@function claims:bequeath
@tparam int token
@tparam string will
*/
static int claims_bequeath(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  te_token token = te_bind_check_token(L, 2);
  te_claims_bequeath(c, token, te_bind_check_slice(L, 3));
  return 0;
}

/***
The will of a task that runs.
@function claims:will
@tparam int token
@treturn ?string
*/
static int claims_will(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  te_slice will;
  if (!te_claims_will(c, te_bind_check_token(L, 2), &will)) return 0;
  lua_pushlstring(L, will.data, will.size);
  return 1;
}

/***
The outcome that a child has left.
@function claims:outcome
@tparam int token
@treturn ?string
*/
static int claims_outcome(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  te_slice record;
  if (!te_claims_outcome(c, te_bind_check_token(L, 2), &record)) return 0;
  lua_pushlstring(L, record.data, record.size);
  return 1;
}

/***
Frees a claim whose end is told.
@function claims:clear
@tparam int token
*/
static int claims_clear(lua_State *L) {
  te_claims_clear(te_bind_check_claims(L, 1), te_bind_check_token(L, 2));
  return 0;
}

/***
Notes what a child executes.
@function claims:execute
@tparam int child
@tparam ?int token nil: nothing
*/
static int claims_execute(lua_State *L) {
  te_claims *c = te_bind_check_claims(L, 1);
  unsigned child = check_child(L, 2);
  if (lua_isnoneornil(L, 3)) {
    te_claims_pause(c, child);
  } else {
    te_claims_execute(c, child, te_bind_check_token(L, 3));
  }
  return 0;
}

/***
Whether a child executes this, and whether it executes anything.
@function claims:is_executing
@tparam int child
@tparam int token
@treturn boolean this
@treturn boolean anything
*/
static int claims_is_executing(lua_State *L) {
  const te_claims *c = te_bind_check_claims(L, 1);
  unsigned child = check_child(L, 2);
  te_token token = te_bind_check_token(L, 3);
  lua_pushboolean(L, te_claims_is_executing(c, child, token));
  lua_pushboolean(L, te_claims_is_busy(c, child));
  return 2;
}

static void add_begun(void *arg, te_slice field, te_slice outcome) {
  lua_State *L = arg;
  lua_pushlstring(L, field.data, field.size);
  lua_pushlstring(L, outcome.data, outcome.size);
  lua_rawset(L, -3);
}

/***
What had begun.
@function claims:begun
@treturn table from fields to outcomes, `""` where there is none
*/
static int claims_begun(lua_State *L) {
  const te_claims *c = te_bind_check_claims(L, 1);
  lua_newtable(L);
  te_claims_each_begun(c, add_begun, L);
  return 1;
}

static const luaL_Reg methods[] = {
    {"attach", claims_attach},
    {"close", claims_close},
    {"keep_file", claims_keep_file},
    {"set_service", claims_set_service},
    {"serve", claims_serve},
    {"set_owner", claims_set_owner},
    {"owner", claims_owner},
    {"offer", claims_offer},
    {"free_count", claims_free_count},
    {"withdraw", claims_withdraw},
    {"take", claims_take},
    {"ask", claims_ask},
    {"is_asked", claims_is_asked},
    {"taken_at", claims_taken_at},
    {"finish", claims_finish},
    {"leave", claims_leave},
    {"bequeath", claims_bequeath},
    {"will", claims_will},
    {"outcome", claims_outcome},
    {"clear", claims_clear},
    {"execute", claims_execute},
    {"is_executing", claims_is_executing},
    {"begun", claims_begun},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", claims_close},
    {"__close", claims_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"create", claims_create},
    {"open_dead", claims_open_dead},
    {"sweep_draft", claims_sweep_draft},
    {NULL, NULL},
};

int te_bind_open_testing_claims(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  lua_pushinteger(L, TE_CLAIMS_MAX);
  lua_setfield(L, -2, "MAX");
  return 1;
}
