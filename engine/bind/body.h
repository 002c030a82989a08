/*
 * body: what a task carries behind its header: the list of its arguments and,
 * when there is something to say, a map. As MessagePack, straight from and
 * onto the Lua stack; or as JSON, by way of MessagePack.
 */
#ifndef TE_BIND_BODY_H
#define TE_BIND_BODY_H

#include <lua.h>

#include "buf.h"

typedef struct te_body {
  int args;          // index of the list of arguments
  int extra;         // index of the map; of none or nil: there is none
  size_t bytes_max;  // of the arguments, and of the map
  te_buf *packed;    // for JSON: a buffer to work in; NULL: MessagePack
} te_body;

// Appends it. 0, or a code and why, in TE_WHY_BYTES_MAX; raises no Lua error.
int te_body_add(lua_State *L, const te_body *body, te_buf *out, char *why);

/*
 * Pushes the map or nil, and then each argument. 0; or TE_EMALFORMED,
 * TE_EDEPTH, TE_ELIMIT, and maybe something is pushed. May raise Lua's memory
 * error.
 */
int te_body_push(lua_State *L, te_slice bytes, bool is_json);

#endif
