#include "bind/scratch.h"

#include <lauxlib.h>

static int scratch_gc(lua_State *L) {
  te_buf_free(lua_touserdata(L, 1));
  return 0;
}

te_buf *te_bind_scratch_push(lua_State *L) {
  te_buf *b = lua_newuserdatauv(L, sizeof(*b), 0);
  te_buf_init(b);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, scratch_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return b;
}

te_buf *te_bind_scratch(lua_State *L, int upvalue) {
  te_buf *b = lua_touserdata(L, lua_upvalueindex(upvalue));
  te_buf_clear(b);
  return b;
}

void te_bind_scratch_pour(lua_State *L, te_buf *b) {
  te_slice bytes = te_buf_slice(b);
  lua_pushlstring(L, bytes.data, bytes.size);
  te_buf_clear(b);
  te_buf_shrink(b);
}
