#include "bind/text.h"

#include <stdio.h>

#include "bind/scratch.h"
#include "codec.h"

int te_bind_text_push(lua_State *L, te_slice text, char *why) {
  int place = lua_gettop(L) + 1;
  te_buf *packed = te_bind_scratch_push(L);
  int rc =
      te_json_parse(text, TE_VALUE_DEPTH_MAX, packed, why, TE_WHY_BYTES_MAX);
  if (rc == 0) {
    rc = te_codec_decode(L, te_buf_slice(packed), NULL);
    if (rc < 0) snprintf(why, TE_WHY_BYTES_MAX, "%s", te_strerror(rc));
  }
  te_buf_free(packed);
  lua_remove(L, place);
  return rc;
}

// In `packed` there may be more bytes than in the text.
static te_codec_limits packed_limits(const te_json_style *style) {
  te_codec_limits limits = {.root = style->root,
                            .bytes_max =
                                style->bytes_max * TE_JSON_PACKED_RATIO,
                            .counts = true};
  return limits;
}

// What was packed, or could not be, as text.
static int add_text(int rc, const te_json_style *style, const te_buf *packed,
                    te_buf *out, char *why) {
  if (rc == TE_ELIMIT && style->bytes_max > 0) {
    te_trail_say_too_large(style->root, style->bytes_max, why,
                           TE_WHY_BYTES_MAX);
  }
  if (rc < 0) return rc;
  return te_json_write(te_buf_slice(packed), style, out, why, TE_WHY_BYTES_MAX);
}

int te_bind_text_add(lua_State *L, int index, const te_json_style *style,
                     te_buf *packed, te_buf *out, char *why) {
  te_codec_limits limits = packed_limits(style);
  te_buf_clear(packed);
  int rc = te_codec_encode(L, index, packed, &limits, why, TE_WHY_BYTES_MAX);
  return add_text(rc, style, packed, out, why);
}

int te_bind_text_add_args(lua_State *L, int index, const te_json_style *style,
                          te_buf *packed, te_buf *out, char *why) {
  te_codec_limits limits = packed_limits(style);
  te_json_style deeper = *style;
  deeper.depth_max = TE_VALUE_DEPTH_MAX + 1;  // the list, and values in it
  te_buf_clear(packed);
  int rc =
      te_codec_encode_args(L, index, packed, &limits, why, TE_WHY_BYTES_MAX);
  return add_text(rc, &deeper, packed, out, why);
}
