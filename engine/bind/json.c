/***
JSON for people and other programs. 10 is an integer and 10.0 a float.
@module taskengine.core.json
*/
#include "json.h"

#include <string.h>

#include "bind/bind.h"
#include "bind/scratch.h"
#include "bind/text.h"
#include "trail.h"

#define INDENT_MAX 16
#define LIMIT_MAX  ((lua_Integer)1 << 30)

// The upvalues of encode: MessagePack lies between Lua and JSON.
enum { PACKED = 1, TEXT };

/***
Reads one JSON value. A null inside an array or object comes back as
`codec.null`.
@function decode
@tparam string text
@return[1] the value
@return[2] nil
@treturn[2] string `"EMALFORMED: line 1, column 4: ']' expected near '2'"`
@treturn[2] string `"EMALFORMED"`, `"EDEPTH"`, or `"ECANNOT"` for a number
beyond 64 bits
*/
static int json_decode(lua_State *L) {
  char why[TE_WHY_BYTES_MAX];
  int rc = te_bind_text_push(L, te_bind_check_slice(L, 1), why);
  return rc < 0 ? te_bind_fail_why(L, rc, why) : 1;
}

static void read_option(lua_State *L, const char *name, te_json_style *style) {
  if (strcmp(name, "indent") == 0) {
    int is_integer;
    lua_Integer indent = lua_tointegerx(L, -1, &is_integer);
    luaL_argcheck(L, is_integer && indent >= 0 && indent <= INDENT_MAX, 2,
                  "indent is an integer from 0 to 16");
    style->indent = (int)indent;
  } else if (strcmp(name, "lossy") == 0) {
    luaL_argcheck(L, lua_isboolean(L, -1), 2, "lossy is true or false");
    style->lossy = lua_toboolean(L, -1);
  } else if (strcmp(name, "exact") == 0) {
    luaL_argcheck(L, lua_isboolean(L, -1), 2, "exact is true or false");
    style->exact = lua_toboolean(L, -1);
  } else if (strcmp(name, "limit") == 0) {
    lua_Integer limit = lua_tointeger(L, -1);
    luaL_argcheck(L, limit > 0 && limit <= LIMIT_MAX, 2,
                  "limit is an integer from 1 to 1 GiB");
    style->bytes_max = (size_t)limit;
  } else if (strcmp(name, "root") == 0) {
    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 2, "root is a string");
    style->root = lua_tostring(L, -1);  // the options table holds it
  } else {
    luaL_argerror(L, 2, lua_pushfstring(L, "unknown option '%s'", name));
  }
}

static te_json_style check_style(lua_State *L, int arg) {
  te_json_style style = {.root = NULL};
  if (lua_isnoneornil(L, arg)) return style;
  luaL_checktype(L, arg, LUA_TTABLE);
  lua_pushnil(L);
  while (lua_next(L, arg)) {
    luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, arg, "options have names");
    read_option(L, lua_tostring(L, -2), &style);
    lua_pop(L, 1);
  }
  return style;
}

/***
Writes a value as JSON, the keys of objects in order. The empty table is an
array, and so is a table with elements and their count in `n`, such as that of a
group: null stands where it has nothing. `n` alone is an object.
@function encode
@param value
@tparam[opt] table options `indent`: spaces for each level, 0 (the default)
puts all on one line; `lossy`: bytes that are not UTF-8 are replaced, not
refused; `exact`: keys are refused that would not come back as they are, those
that are no strings; `limit`: the most bytes of text; `root`: what messages
call the value
@treturn[1] string text
@return[2] nil
@treturn[2] string `"ECANNOT: result.x[3]: nan cannot be written as JSON"`
@treturn[2] string `"ECANNOT"`, `"EDEPTH"` or `"ELIMIT"`
@raise an option that does not exist, or of the wrong type
*/
static int json_encode(lua_State *L) {
  luaL_checkany(L, 1);
  te_json_style style = check_style(L, 2);
  te_buf *text = te_bind_scratch(L, TEXT);
  char why[TE_WHY_BYTES_MAX];
  int rc =
      te_bind_text_add(L, 1, &style, te_bind_scratch(L, PACKED), text, why);
  if (rc < 0) return te_bind_fail_why(L, rc, why);
  te_bind_scratch_pour(L, text);
  return 1;
}

static const luaL_Reg functions[] = {
    {"decode", json_decode},
    {"encode", json_encode},
    {NULL, NULL},
};

int te_bind_open_json(lua_State *L) {
  luaL_newlibtable(L, functions);
  te_bind_scratch_push(L);
  te_bind_scratch_push(L);
  luaL_setfuncs(L, functions, 2);
  return 1;
}
