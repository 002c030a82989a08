#include "bind/body.h"

#include "bind/scratch.h"
#include "bind/text.h"
#include "codec.h"

#define HEAD_ARGS       0x91  // [args]
#define HEAD_ARGS_EXTRA 0x92  // [args, extra]

// A list of arguments, and in it values of the greatest depth.
#define ARGS_DEPTH_MAX (TE_VALUE_DEPTH_MAX + 1)

static int add_packed(lua_State *L, const te_body *body, bool has_extra,
                      te_buf *out, char *why) {
  te_codec_limits limits = {.root = "args", .bytes_max = body->bytes_max};
  te_buf_add_u8(out, has_extra ? HEAD_ARGS_EXTRA : HEAD_ARGS);
  int rc =
      te_codec_encode_args(L, body->args, out, &limits, why, TE_WHY_BYTES_MAX);
  if (rc < 0 || !has_extra) return rc;
  limits.root = "options";
  return te_codec_encode(L, body->extra, out, &limits, why, TE_WHY_BYTES_MAX);
}

static int add_json(lua_State *L, const te_body *body, bool has_extra,
                    te_buf *out, char *why) {
  te_json_style style = {
      .root = "args", .exact = true, .bytes_max = body->bytes_max};
  te_buf_add_u8(out, '[');
  int rc = te_bind_text_add_args(L, body->args, &style, body->packed, out, why);
  if (rc == 0 && has_extra) {
    style.root = "options";
    te_buf_add_u8(out, ',');
    rc = te_bind_text_add(L, body->extra, &style, body->packed, out, why);
  }
  te_buf_add_u8(out, ']');
  return rc;
}

int te_body_add(lua_State *L, const te_body *body, te_buf *out, char *why) {
  bool has_extra = !lua_isnoneornil(L, body->extra);
  return body->packed == NULL ? add_packed(L, body, has_extra, out, why)
                              : add_json(L, body, has_extra, out, why);
}

// The parts of a body; `extra` is empty when there is none.
static int split(te_slice body, te_slice *args, te_slice *extra) {
  if (body.size == 0) return TE_EMALFORMED;
  unsigned char head = (unsigned char)body.data[0];
  if (head != HEAD_ARGS && head != HEAD_ARGS_EXTRA) return TE_EMALFORMED;
  te_reader r = te_reader_of(te_slice_of(body.data + 1, body.size - 1));
  int rc = te_reader_skip(&r, ARGS_DEPTH_MAX, args);
  if (rc < 0) return rc;
  *extra = te_slice_of(r.at, (size_t)(r.end - r.at));
  return (extra->size > 0) == (head == HEAD_ARGS_EXTRA) ? 0 : TE_EMALFORMED;
}

static int push_packed(lua_State *L, te_slice bytes) {
  te_slice args = {"", 0};
  te_slice extra = {"", 0};
  int rc = split(bytes, &args, &extra);
  if (rc < 0) return rc;
  if (extra.size == 0) {
    lua_pushnil(L);
  } else {
    rc = te_codec_decode(L, extra, NULL);
  }
  // What is said besides the arguments is a map.
  if (rc == 0 && extra.size > 0 && !lua_istable(L, -1)) rc = TE_EMALFORMED;
  if (rc == 0) rc = te_codec_decode_args(L, args);
  return rc < 0 ? rc : 0;
}

int te_body_push(lua_State *L, te_slice bytes, bool is_json) {
  if (!is_json) return push_packed(L, bytes);
  int place = lua_gettop(L) + 1;
  te_buf *packed = te_bind_scratch_push(L);
  char why[TE_WHY_BYTES_MAX];
  int rc = te_json_parse(bytes, ARGS_DEPTH_MAX + 1, packed, why, sizeof(why));
  if (rc == 0) rc = push_packed(L, te_buf_slice(packed));
  te_buf_free(packed);
  lua_remove(L, place);
  return rc;
}
