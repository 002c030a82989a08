/***
Lua values as MessagePack and back.

Integers stay 64-bit integers, floats stay floats, strings are bytes. Tables
with the keys 1 to `#t` travel as arrays, others as maps; metatables are
ignored, but for a string `__cannot_travel` in one, with which its table is
refused. Functions, coroutines, userdata and cycles are refused.
@module taskengine.core.codec
*/
#include "codec.h"

#include "bind/bind.h"
#include "bind/scratch.h"

// The limit at `arg`, 0 when there is none.
static size_t opt_limit(lua_State *L, int arg) {
  lua_Integer limit = luaL_optinteger(L, arg, 0);
  bool given = !lua_isnoneornil(L, arg);
  luaL_argcheck(L, !given || (limit > 0 && limit <= UINT32_MAX), arg,
                "a limit is 1 byte to 4 GiB");
  return (size_t)limit;
}

static int push_encoded(lua_State *L, int rc, te_buf *out, const char *why) {
  if (rc < 0) return te_bind_fail_why(L, rc, why);
  te_bind_scratch_pour(L, out);
  return 1;
}

/***
Encodes one value.
@function encode
@param value anything that can travel
@tparam[opt="value"] string root what messages call the value
@tparam[opt=16777216] int limit the most bytes it may take
@treturn[1] string MessagePack
@return[2] nil
@treturn[2] string `"ECANNOT: result.f: a function cannot be sent"`
@treturn[2] string `"ECANNOT"`, `"EDEPTH"` or `"ELIMIT"`
*/
static int codec_encode(lua_State *L) {
  luaL_checkany(L, 1);
  te_codec_limits limits = {.root = luaL_optstring(L, 2, NULL),
                            .bytes_max = opt_limit(L, 3)};
  te_buf *out = te_bind_scratch(L, 1);
  char why[TE_WHY_BYTES_MAX];
  int rc = te_codec_encode(L, 1, out, &limits, why, sizeof(why));
  return push_encoded(L, rc, out, why);
}

/***
Encodes a list of arguments, in which nil keeps its place.
@function encode_args
@tparam table args `args.n` values if given, else `#args`
@tparam[opt=1048576] int limit the most bytes they may take
@treturn[1] string MessagePack, an array
@return[2] nil
@treturn[2] string `"ECANNOT: args[2].on_done: a function cannot be sent"`
@treturn[2] string `"ECANNOT"`, `"EDEPTH"` or `"ELIMIT"`
*/
static int codec_encode_args(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  te_codec_limits limits = {.root = NULL, .bytes_max = opt_limit(L, 2)};
  te_buf *out = te_bind_scratch(L, 1);
  char why[TE_WHY_BYTES_MAX];
  int rc = te_codec_encode_args(L, 1, out, &limits, why, sizeof(why));
  return push_encoded(L, rc, out, why);
}

/***
Decodes the value at a place in a string. A nil inside a table comes back as
`null`.
@function decode
@tparam string bytes MessagePack
@tparam[opt=1] int init where the value starts
@return[1] the value
@treturn[1] int the place behind it
@return[2] nil
@treturn[2] string `"EMALFORMED: malformed data"`
@treturn[2] string `"EMALFORMED"` or `"EDEPTH"`
*/
static int codec_decode(lua_State *L) {
  te_slice bytes = te_bind_check_slice(L, 1);
  lua_Integer init = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, init >= 1 && (size_t)init <= bytes.size + 1, 2,
                "outside the string");
  size_t before = (size_t)init - 1;
  te_slice rest = te_slice_of(bytes.data + before, bytes.size - before);
  size_t used;
  int rc = te_codec_decode(L, rest, &used);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushinteger(L, init + (lua_Integer)used);
  return 2;
}

/***
Decodes a list of arguments.
@function decode_args
@tparam string bytes what `encode_args` made
@treturn[1] int how many there are
@return[1] each of them
@return[2] nil
@treturn[2] string `"EMALFORMED: malformed data"`
@treturn[2] string `"EMALFORMED"`, `"EDEPTH"`, or `"ELIMIT"` when they are
more than Lua's stack takes
*/
static int codec_decode_args(lua_State *L) {
  te_slice bytes = te_bind_check_slice(L, 1);
  lua_settop(L, 1);
  lua_pushnil(L);  // the count goes here
  int n = te_codec_decode_args(L, bytes);
  if (n < 0) return te_bind_fail(L, n);
  lua_pushinteger(L, n);
  lua_replace(L, 2);
  return 1 + n;
}

static const luaL_Reg functions[] = {
    {"encode", codec_encode},
    {"encode_args", codec_encode_args},
    {"decode", codec_decode},
    {"decode_args", codec_decode_args},
    {NULL, NULL},
};

/***
Stands for nil inside a table: the light userdata NULL.
@field null
*/
int te_bind_open_codec(lua_State *L) {
  te_codec_open(L);
  luaL_newlibtable(L, functions);
  te_bind_scratch_push(L);
  luaL_setfuncs(L, functions, 1);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  return 1;
}
