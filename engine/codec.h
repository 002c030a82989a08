/*
 * codec: Lua values <-> MessagePack, straight from and onto the Lua stack.
 *
 * This runs for each task's arguments and result, hence no tree in between.
 * Integers stay 64-bit integers, floats stay floats, strings are bytes (str
 * where they are UTF-8, else bin; both come back as strings). A table whose
 * keys are exactly 1 to #t travels as an array, the empty table too, any
 * other as a map with keys of the same kinds. Metatables are ignored: what a
 * table holds is sent as it is, and no Lua code runs. Only a table whose
 * metatable has a string in the field TE_CODEC_REFUSAL is refused with it: one
 * of the engine's own, whose insides mean nothing elsewhere.
 *
 * A nil cannot stand in a Lua table: the light userdata NULL (te.null) stands
 * for it there. As a whole value, or as an argument, it is a real nil.
 */
#ifndef TE_CODEC_H
#define TE_CODEC_H

#include <lua.h>

#include "buf.h"
#include "trail.h"

#define TE_CODEC_REFUSAL "__cannot_travel"

// Once for a Lua state, before anything is refused so.
void te_codec_open(lua_State *L);

// Zeroed fields, or NULL for the whole, mean the defaults.
typedef struct te_codec_limits {
  const char *root;  // what messages call the value: "value"; "args"
  size_t bytes_max;  // TE_RESULT_BYTES_MAX; for arguments TE_MESSAGE_...
  // A table with elements, holes among them or not, and how many there are in
  // `n` is an array of n as well: JSON has no other word for it.
  bool counts;
} te_codec_limits;

/*
 * Appends the value at `index`. Returns 0; or TE_ECANNOT (a function, a
 * cycle...), TE_EDEPTH (over TE_VALUE_DEPTH_MAX tables in one another) or
 * TE_ELIMIT (too large) with a sentence in `why`, which says where:
 * `args[2].on_done: a function cannot be sent`. Then `out` is as it was.
 * Never raises a Lua error. TE_WHY_BYTES_MAX is enough for `why`.
 */
int te_codec_encode(lua_State *L, int index, te_buf *out,
                    const te_codec_limits *limits, char *why, size_t why_size);

/*
 * The same for a list of arguments: a table with `n`, or else #t values, in
 * which nil keeps its place. A key that is no argument's is refused: it would
 * be lost without a word.
 */
int te_codec_encode_args(lua_State *L, int index, te_buf *out,
                         const te_codec_limits *limits, char *why,
                         size_t why_size);

/*
 * Pushes the value at the front of `bytes`, which may be anything. Returns 0,
 * and how many bytes it took in `used` (NULL: it has to take all of them); or
 * TE_EMALFORMED, TE_EDEPTH, or TE_ELIMIT when the Lua stack is full, with
 * nothing pushed. It allocates on the Lua heap, at most some 100 bytes
 * for each byte, so it may raise: Lua's memory error, and no other. Call it
 * where that is caught.
 */
int te_codec_decode(lua_State *L, te_slice bytes, size_t *used);

// Pushes each argument of a whole list; how many, or what decode returns.
int te_codec_decode_args(lua_State *L, te_slice bytes);

#endif
