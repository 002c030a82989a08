/***
libmsgpack beside our codec, for specs that compare the two.
@module taskengine.core.testing.codec
*/
#include <math.h>
#include <msgpack.h>

#include "bind/bind.h"
#include "bind/scratch.h"
#include "codec.h"

static int unpacked_gc(lua_State *L) {
  msgpack_unpacked_destroy(lua_touserdata(L, 1));
  return 0;
}

static msgpack_unpacked *new_unpacked(lua_State *L) {
  msgpack_unpacked *u = lua_newuserdatauv(L, sizeof(*u), 0);
  msgpack_unpacked_init(u);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, unpacked_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return u;
}

// False where our rules refuse what the format allows.
static bool push_object(lua_State *L, const msgpack_object *o);

static bool push_array(lua_State *L, const msgpack_object_array *a) {
  lua_newtable(L);
  for (uint32_t i = 0; i < a->size; i++) {
    if (!push_object(L, &a->ptr[i])) return false;
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return true;
}

static bool is_key(const msgpack_object *o) {
  if (o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64) {
    return !isnan(o->via.f64);
  }
  return o->type != MSGPACK_OBJECT_NIL && o->type != MSGPACK_OBJECT_ARRAY &&
         o->type != MSGPACK_OBJECT_MAP;
}

static bool push_map(lua_State *L, const msgpack_object_map *m) {
  lua_newtable(L);
  for (uint32_t i = 0; i < m->size; i++) {
    if (!is_key(&m->ptr[i].key)) return false;
    if (!push_object(L, &m->ptr[i].key)) return false;
    if (!push_object(L, &m->ptr[i].val)) return false;
    lua_rawset(L, -3);
  }
  return true;
}

static bool push_object(lua_State *L, const msgpack_object *o) {
  luaL_checkstack(L, 4, "reference");
  switch (o->type) {
    case MSGPACK_OBJECT_NIL: lua_pushlightuserdata(L, NULL); return true;
    case MSGPACK_OBJECT_BOOLEAN:
      lua_pushboolean(L, o->via.boolean);
      return true;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
      lua_pushinteger(L, (lua_Integer)o->via.u64);
      return o->via.u64 <= INT64_MAX;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
      lua_pushinteger(L, o->via.i64);
      return true;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64: lua_pushnumber(L, o->via.f64); return true;
    case MSGPACK_OBJECT_STR:
      lua_pushlstring(L, o->via.str.ptr, o->via.str.size);
      return true;
    case MSGPACK_OBJECT_BIN:
      lua_pushlstring(L, o->via.bin.ptr, o->via.bin.size);
      return true;
    case MSGPACK_OBJECT_ARRAY: return push_array(L, &o->via.array);
    case MSGPACK_OBJECT_MAP: return push_map(L, &o->via.map);
    case MSGPACK_OBJECT_EXT: return false;
  }
  return false;
}

/***
Decodes the value at the front with libmsgpack.
@function reference_decode
@tparam string bytes
@treturn[1] bool true
@return[1] the value, `null` for a nil
@treturn[1] int how many bytes it took
@treturn[2] bool false when it is refused
*/
static int testing_reference_decode(lua_State *L) {
  te_slice bytes = te_bind_check_slice(L, 1);
  msgpack_unpacked *u = new_unpacked(L);
  size_t used = 0;
  msgpack_unpack_return rc =
      msgpack_unpack_next(u, bytes.data, bytes.size, &used);
  bool ok = rc == MSGPACK_UNPACK_SUCCESS || rc == MSGPACK_UNPACK_EXTRA_BYTES;
  lua_pushboolean(L, true);
  if (!ok || !push_object(L, &u->data)) {
    lua_pushboolean(L, false);
    return 1;
  }
  lua_pushinteger(L, (lua_Integer)used);
  return 3;
}

/***
Decodes a value with libmsgpack and encodes it again with libmsgpack.
@function reference_repack
@tparam string bytes
@treturn ?string nil when it is refused
*/
static int testing_reference_repack(lua_State *L) {
  te_slice bytes = te_bind_check_slice(L, 1);
  msgpack_unpacked *u = new_unpacked(L);
  size_t used = 0;
  if (msgpack_unpack_next(u, bytes.data, bytes.size, &used) !=
      MSGPACK_UNPACK_SUCCESS) {
    return 0;
  }
  msgpack_sbuffer out;
  msgpack_sbuffer_init(&out);
  msgpack_packer packer;
  msgpack_packer_init(&packer, &out, msgpack_sbuffer_write);
  msgpack_pack_object(&packer, u->data);
  lua_pushlstring(L, out.data, out.size);
  msgpack_sbuffer_destroy(&out);
  return 1;
}

/***
Passes over the value at the front with our reader.
@function skip
@tparam string bytes
@treturn[1] int how many bytes it took
@return[2] nil
@treturn[2] string message
@treturn[2] string `"EMALFORMED"` or `"EDEPTH"`
*/
static int testing_skip(lua_State *L) {
  te_reader r = te_reader_of(te_bind_check_slice(L, 1));
  te_slice raw;
  int rc = te_reader_skip(&r, TE_VALUE_DEPTH_MAX, &raw);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushinteger(L, (lua_Integer)raw.size);
  return 1;
}

/***
Encodes behind what a buffer already holds.
@function append
@tparam string before
@param value
@tparam int limit
@treturn string what the buffer holds then
@treturn int how many values are left on the Lua stack; 0
*/
static int testing_append(lua_State *L) {
  te_slice before = te_bind_check_slice(L, 1);
  te_codec_limits limits = {.bytes_max = (size_t)luaL_checkinteger(L, 3)};
  te_buf *out = te_bind_scratch_push(L);
  te_buf_add_slice(out, before);
  int top = lua_gettop(L);
  char why[TE_WHY_BYTES_MAX];
  te_codec_encode(L, 2, out, &limits, why, sizeof(why));
  int left = lua_gettop(L) - top;
  te_slice after = te_buf_slice(out);
  lua_pushlstring(L, after.data, after.size);
  lua_pushinteger(L, left);
  return 2;
}

/***
How many values both decoders leave on the Lua stack of what they refuse.
@function left_behind
@tparam string bytes
@treturn int
*/
static int testing_left_behind(lua_State *L) {
  te_slice bytes = te_bind_check_slice(L, 1);
  int top = lua_gettop(L);
  int whole = te_codec_decode(L, bytes, NULL);
  int args = te_codec_decode_args(L, bytes);
  luaL_argcheck(L, whole < 0 && args < 0, 1, "was not refused");
  lua_pushinteger(L, lua_gettop(L) - top);
  return 1;
}

static const luaL_Reg functions[] = {
    {"append", testing_append},
    {"left_behind", testing_left_behind},
    {"reference_decode", testing_reference_decode},
    {"reference_repack", testing_reference_repack},
    {"skip", testing_skip},
    {NULL, NULL},
};

int te_bind_open_testing_codec(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
