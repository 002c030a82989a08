/***
Frames: writing them, and the decoder.
@module taskengine.core.testing.frame
*/
#include <string.h>

#include "bind/bind.h"
#include "frame.h"

#define CLASS "taskengine.testing.frame"

typedef struct handle {
  te_frame *frame;
} handle;

static te_frame *check_open(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  luaL_argcheck(L, h->frame != NULL, 1, "closed");
  return h->frame;
}

/***
A new decoder.
@function decoder
@treturn decoder
*/
static int frame_decoder(lua_State *L) {
  handle *h = lua_newuserdatauv(L, sizeof(*h), 0);
  h->frame = NULL;  // collectable even if the next line raises
  luaL_setmetatable(L, CLASS);
  h->frame = te_frame_new();
  return 1;
}

/***
Frees the decoder. Twice does nothing.
@function decoder:close
*/
static int decoder_close(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, CLASS);
  te_frame_free(h->frame);
  h->frame = NULL;
  return 0;
}

/***
Feeds bytes of the stream.
@function decoder:feed
@tparam string bytes
*/
static int decoder_feed(lua_State *L) {
  te_slice bytes = te_bind_check_slice(L, 2);
  memcpy(te_frame_reserve(check_open(L), bytes.size + 100), bytes.data,
         bytes.size);
  te_frame_grow(check_open(L), bytes.size);
  return 0;
}

/***
Takes the next whole frame.
@function decoder:next
@treturn[1] string the frame
@treturn[2] nil when more bytes are needed
@treturn[3] nil
@treturn[3] string message
@treturn[3] string `"ELIMIT"`
*/
static int decoder_next(lua_State *L) {
  te_slice out;
  int rc = te_frame_next(check_open(L), &out);
  if (rc < 0) return te_bind_fail(L, rc);
  if (rc == 0) return 0;
  lua_pushlstring(L, out.data, out.size);
  return 1;
}

/***
Writes frames into a buffer that holds other bytes already.
@function encode
@tparam string before what the buffer holds
@tparam string ... a frame each
@treturn string all the buffer's bytes
*/
static int frame_encode(lua_State *L) {
  int count = lua_gettop(L);
  for (int i = 1; i <= count; i++)
    luaL_checkstring(L, i);
  te_buf b = {0};
  te_buf_add_str(&b, "eaten");
  te_buf_add_slice(&b, te_bind_check_slice(L, 1));
  te_buf_consume(&b, strlen("eaten"));
  for (int i = 2; i <= count; i++) {
    size_t mark = te_frame_begin(&b);
    te_buf_add_slice(&b, te_bind_check_slice(L, i));
    te_frame_end(&b, mark);
  }
  te_slice bytes = te_buf_slice(&b);
  lua_pushlstring(L, bytes.data, bytes.size);
  te_buf_free(&b);
  return 1;
}

/***
Writes a frame of a size whose bytes do not matter behind three others.
@function encode_blank
@tparam int size
@treturn[1] int bytes in the buffer then
@return[2] nil
@treturn[2] string message
@treturn[2] string `"ELIMIT"`
@treturn[2] int bytes in the buffer then
*/
static int frame_encode_blank(lua_State *L) {
  size_t size = (size_t)luaL_checkinteger(L, 1);
  te_buf b = {0};
  te_buf_add_str(&b, "abc");
  size_t mark = te_frame_begin(&b);
  te_buf_reserve(&b, size);
  te_buf_grow(&b, size);
  int rc = te_frame_end(&b, mark);
  lua_Integer left = (lua_Integer)te_buf_size(&b);
  te_buf_free(&b);
  int pushed = rc < 0 ? te_bind_fail(L, rc) : 0;
  lua_pushinteger(L, left);
  return pushed + 1;
}

static const luaL_Reg methods[] = {
    {"feed", decoder_feed},
    {"next", decoder_next},
    {"close", decoder_close},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", decoder_close},
    {"__close", decoder_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"decoder", frame_decoder},
    {"encode", frame_encode},
    {"encode_blank", frame_encode_blank},
    {NULL, NULL},
};

int te_bind_open_testing_frame(lua_State *L) {
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  lua_pushinteger(L, (lua_Integer)TE_FRAME_BYTES_MAX);
  lua_setfield(L, -2, "BYTES_MAX");
  return 1;
}
