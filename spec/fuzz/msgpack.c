/*
 * MessagePack from anyone onto the Lua stack: the codec beside libmsgpack, and
 * back again.
 */
#include <string.h>

#include "codec.h"
#include "support/fuzz.h"

// libmsgpack goes 31 containers deep.
#define REFERENCE_DEPTH_MAX 31

static const te_codec_limits NO_LIMITS = {.bytes_max = UINT32_MAX};

/*
 * Whether libmsgpack can say something of it: it reserves what a count of 32
 * bits claims, 24 bytes for each, and it refuses what is deeper.
 */
static bool is_for_reference(te_slice bytes) {
  for (size_t i = 0; i + 2 < bytes.size; i++) {
    uint8_t tag = (uint8_t)bytes.data[i];
    bool claims = tag == 0xdd || tag == 0xdf;
    if (claims && (bytes.data[i + 1] != 0 || bytes.data[i + 2] != 0)) {
      return false;
    }
  }
  te_reader r = te_reader_of(bytes);
  te_slice raw;
  return te_reader_skip(&r, REFERENCE_DEPTH_MAX, &raw) != TE_EDEPTH;
}

// `value` is what we have read, if anything, in `used` bytes.
static void check_reference(lua_State *L, te_slice bytes, int value,
                            size_t used) {
  int top = lua_gettop(L);
  fuzz_push_reference(L, "reference_decode");
  lua_pushlstring(L, bytes.data, bytes.size);
  lua_call(L, 1, 3);
  assert(lua_toboolean(L, top + 1) == (value != 0));
  if (value != 0) {
    // A nil as a whole is a nil here, and null there.
    bool is_nil = lua_isnil(L, value);
    assert(is_nil ? lua_touserdata(L, top + 2) == NULL
                  : fuzz_same(L, value, top + 2));
    assert((size_t)lua_tointeger(L, top + 3) == used);
  }
  lua_settop(L, top);
}

static void check_round_trip(lua_State *L, int value) {
  char why[TE_WHY_BYTES_MAX];
  te_buf out = {0};
  int rc = te_codec_encode(L, value, &out, &NO_LIMITS, why, sizeof(why));
  assert(rc == 0);
  rc = te_codec_decode(L, te_buf_slice(&out), NULL);
  assert(rc == 0 && fuzz_same(L, value, -1));
  te_buf_free(&out);
}

static void check_args(lua_State *L, te_slice bytes) {
  int count = te_codec_decode_args(L, bytes);
  assert(lua_gettop(L) == (count < 0 ? 0 : count));
  if (count < 0) return;
  fuzz_collect(L, 0);
  char why[TE_WHY_BYTES_MAX];
  te_buf out = {0};
  int rc = te_codec_encode_args(L, 1, &out, &NO_LIMITS, why, sizeof(why));
  assert(rc == 0);
  rc = te_codec_decode_args(L, te_buf_slice(&out));
  assert(rc == count);
  fuzz_collect(L, 1);
  assert(fuzz_same(L, 1, 2));
  te_buf_free(&out);
}

void fuzz_one(te_slice bytes) {
  lua_State *L = fuzz_lua();
  size_t used = 0;
  int rc = te_codec_decode(L, bytes, &used);
  assert(lua_gettop(L) == (rc == 0 ? 1 : 0) && used <= bytes.size);

  te_reader r = te_reader_of(bytes);
  te_slice raw;
  int skipped = te_reader_skip(&r, TE_VALUE_DEPTH_MAX, &raw);
  assert(skipped == rc && (rc < 0 || raw.size == used));

  int value = rc == 0 ? 1 : 0;
  if (is_for_reference(bytes)) check_reference(L, bytes, value, used);
  if (rc == 0) check_round_trip(L, value);
  check_args(fuzz_lua(), bytes);
}
