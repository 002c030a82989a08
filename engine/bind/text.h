/*
 * text: values on the Lua stack as JSON, by way of MessagePack.
 */
#ifndef TE_BIND_TEXT_H
#define TE_BIND_TEXT_H

#include <lua.h>

#include "json.h"

/*
 * Appends what te_codec_encode, or for arguments te_codec_encode_args, would
 * take. `packed` is a buffer to work in. 0, or a code and why, in
 * TE_WHY_BYTES_MAX; then `out` is as it was. Never raises a Lua error.
 */
int te_bind_text_add(lua_State *L, int index, const te_json_style *style,
                     te_buf *packed, te_buf *out, char *why);
int te_bind_text_add_args(lua_State *L, int index, const te_json_style *style,
                          te_buf *packed, te_buf *out, char *why);

// Pushes the value in `text`. 0, or a code and why; may raise a memory error.
int te_bind_text_push(lua_State *L, te_slice text, char *why);

#endif
