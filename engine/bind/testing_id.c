/***
Ids of producers and tasks.
@module taskengine.core.testing.id
*/
#include "bind/bind.h"
#include "id.h"

/***
A new producer id.
@function producer
@treturn string 12 characters
*/
static int id_producer(lua_State *L) {
  char id[TE_ID_PRODUCER_BYTES];
  te_id_producer(id);
  lua_pushlstring(L, id, sizeof(id));
  return 1;
}

/***
A task's id.
@function format
@tparam string producer 12 characters
@tparam int seq
@treturn string 20 characters
*/
static int id_format(lua_State *L) {
  te_slice producer = te_bind_check_slice(L, 1);
  lua_Integer seq = luaL_checkinteger(L, 2);
  luaL_argcheck(L, producer.size == TE_ID_PRODUCER_BYTES, 1, "its length");
  luaL_argcheck(L, seq >= 0 && (uint64_t)seq <= TE_ID_SEQ_MAX, 2, "too large");
  char id[TE_ID_BYTES];
  te_id_format(id, producer.data, (uint64_t)seq);
  lua_pushlstring(L, id, sizeof(id));
  return 1;
}

/***
The sequence number in a task's id.
@function seq
@tparam string id
@treturn[1] int
@return[2] nil
@treturn[2] string message
@treturn[2] string `"EMALFORMED"`
*/
static int id_seq(lua_State *L) {
  uint64_t seq;
  int rc = te_id_seq(te_bind_check_slice(L, 1), &seq);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushinteger(L, (lua_Integer)seq);
  return 1;
}

static const luaL_Reg functions[] = {
    {"producer", id_producer},
    {"format", id_format},
    {"seq", id_seq},
    {NULL, NULL},
};

int te_bind_open_testing_id(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
