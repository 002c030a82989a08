/***
Byte buffers, as engine/buf.h has them.
@module taskengine.core.testing.buf
*/
#include "bind/bind.h"
#include "buf.h"

#define CLASS "taskengine.testing.buf"

static te_buf *check(lua_State *L) {
  return luaL_checkudata(L, 1, CLASS);
}

/***
An empty buffer.
@function new
@treturn buf
*/
static int buf_new(lua_State *L) {
  te_buf_init(lua_newuserdatauv(L, sizeof(te_buf), 0));
  luaL_setmetatable(L, CLASS);
  return 1;
}

/***
Gives the memory back; the buffer is empty and usable.
@function buf:free
*/
static int buf_free(lua_State *L) {
  te_buf_free(check(L));
  return 0;
}

/***
Empties the buffer and keeps its memory.
@function buf:clear
*/
static int buf_clear(lua_State *L) {
  te_buf_clear(check(L));
  return 0;
}

/***
Gives back what an empty one has beyond what it may keep.
@function buf:shrink
*/
static int buf_shrink(lua_State *L) {
  te_buf_shrink(check(L));
  return 0;
}

/***
Appends bytes.
@function buf:add
@tparam string bytes
*/
static int buf_add(lua_State *L) {
  te_buf_add_slice(check(L), te_bind_check_slice(L, 2));
  return 0;
}

/***
Appends by reserving more room than is then used.
@function buf:add_reserved
@tparam string bytes
@tparam int spare bytes reserved beyond those written
*/
static int buf_add_reserved(lua_State *L) {
  te_buf *b = check(L);
  te_slice bytes = te_bind_check_slice(L, 2);
  size_t spare = (size_t)luaL_checkinteger(L, 3);
  char *at = te_buf_reserve(b, bytes.size + spare);
  for (size_t i = 0; i < bytes.size; i++)
    at[i] = bytes.data[i];
  te_buf_grow(b, bytes.size);
  return 0;
}

/***
Appends a number, big-endian.
@function buf:add_int
@tparam int bytes 1, 4 or 8
@tparam int value
*/
static int buf_add_int(lua_State *L) {
  te_buf *b = check(L);
  uint64_t value = (uint64_t)luaL_checkinteger(L, 3);
  switch (luaL_checkinteger(L, 2)) {
    case 1: te_buf_add_u8(b, (uint8_t)value); return 0;
    case 4: te_buf_add_u32(b, (uint32_t)value); return 0;
    case 8: te_buf_add_u64(b, value); return 0;
    default: return luaL_argerror(L, 2, "not 1, 4 or 8");
  }
}

/***
Appends `<text>=number`, formatted.
@function buf:addf
@tparam string text
@tparam int number
*/
static int buf_addf(lua_State *L) {
  te_buf *b = check(L);
  const char *text = luaL_checkstring(L, 2);
  te_buf_addf(b, "<%s>=%lld", text, luaL_checkinteger(L, 3));
  te_buf_add_str(b, ";");
  return 0;
}

/***
Eats bytes at the front.
@function buf:consume
@tparam int size
*/
static int buf_consume(lua_State *L) {
  te_buf_consume(check(L), (size_t)luaL_checkinteger(L, 2));
  return 0;
}

/***
What is in the buffer.
@function buf:bytes
@treturn string
@treturn int te_buf_size
*/
static int buf_bytes(lua_State *L) {
  te_slice bytes = te_buf_slice(check(L));
  lua_pushlstring(L, bytes.data, bytes.size);
  lua_pushinteger(L, (lua_Integer)te_buf_size(check(L)));
  return 2;
}

/***
How much memory the buffer holds.
@function buf:cap
@treturn int bytes
*/
static int buf_cap(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check(L)->cap);
  return 1;
}

static const luaL_Reg methods[] = {
    {"free", buf_free},
    {"clear", buf_clear},
    {"add", buf_add},
    {"add_reserved", buf_add_reserved},
    {"add_int", buf_add_int},
    {"addf", buf_addf},
    {"consume", buf_consume},
    {"bytes", buf_bytes},
    {"cap", buf_cap},
    {"shrink", buf_shrink},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", buf_free},
    {"__close", buf_free},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", buf_new},
    {NULL, NULL},
};

int te_bind_open_testing_buf(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
