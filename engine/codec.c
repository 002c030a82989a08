#include "codec.h"

#include <limits.h>

// The deepest chain of tables, with the list of arguments around it.
#define TABLES_MAX      TE_TRAIL_STEPS_MAX
// A table's key and value, and one more.
#define SLOTS_PER_TABLE 3

typedef struct encoder {
  lua_State *L;
  te_buf *out;
  size_t mark;       // bytes that `out` held before
  size_t bytes_max;  // of what is added
  size_t depth_max;
  bool counts;       // as in te_codec_limits
  const char *says;  // what is wrong at the trail's end; for TE_ECANNOT
  te_trail trail;
  // The tables that the value at hand is in, to tell a cycle from depth; the
  // last one is that which went too deep.
  const void *tables[TABLES_MAX + 1];
} encoder;

static const char *const CANNOT_BE_SENT[LUA_NUMTYPES] = {
    [LUA_TLIGHTUSERDATA] = "a light userdata cannot be sent",
    [LUA_TFUNCTION] = "a function cannot be sent",
    [LUA_TUSERDATA] = "a userdata cannot be sent",
    [LUA_TTHREAD] = "a coroutine cannot be sent",
};

static const char *const CANNOT_BE_A_KEY[LUA_NUMTYPES] = {
    [LUA_TLIGHTUSERDATA] = "a key that is a light userdata cannot be sent",
    [LUA_TTABLE] = "a key that is a table cannot be sent",
    [LUA_TFUNCTION] = "a key that is a function cannot be sent",
    [LUA_TUSERDATA] = "a key that is a userdata cannot be sent",
    [LUA_TTHREAD] = "a key that is a coroutine cannot be sent",
};

// In the registry its address leads to the name of the field, so that no string
// has to be made to look for it.
static const char REFUSAL_KEY;

void te_codec_open(lua_State *L) {
  lua_pushliteral(L, TE_CODEC_REFUSAL);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &REFUSAL_KEY);
}

static int refuse(encoder *e, const char *says) {
  e->says = says;
  return TE_ECANNOT;
}

static size_t left(const encoder *e) {
  return e->bytes_max - (te_buf_size(e->out) - e->mark);
}

// Never grows `out` by much more than the limit, whatever is to come.
static int add(encoder *e, const te_item *item) {
  if (te_item_size_min(item) > left(e)) return TE_ELIMIT;
  te_pack_add(e->out, item);
  size_t added = te_buf_size(e->out) - e->mark;
  return added > e->bytes_max ? TE_ELIMIT : 0;
}

// False when the value is of a type that stands for no item.
static bool scalar_at(lua_State *L, int index, te_item *item) {
  switch (lua_type(L, index)) {
    case LUA_TNIL: item->kind = TE_ITEM_NIL; return true;
    case LUA_TBOOLEAN:
      item->kind = TE_ITEM_BOOL;
      item->truth = lua_toboolean(L, index);
      return true;
    case LUA_TNUMBER:
      if (lua_isinteger(L, index)) {
        item->kind = TE_ITEM_INT;
        item->integer = lua_tointeger(L, index);
      } else {
        item->kind = TE_ITEM_FLOAT;
        item->number = lua_tonumber(L, index);
      }
      return true;
    case LUA_TSTRING: {
      te_slice bytes;
      bytes.data = lua_tolstring(L, index, &bytes.size);
      *item = te_item_of_bytes(bytes);
      return true;
    }
    case LUA_TLIGHTUSERDATA:
      item->kind = TE_ITEM_NIL;
      return lua_touserdata(L, index) == NULL;
    default: return false;
  }
}

static int key_at(encoder *e, int index, te_item *key) {
  bool fits = scalar_at(e->L, index, key) && key->kind != TE_ITEM_NIL;
  if (fits) return 0;
  return refuse(e, CANNOT_BE_A_KEY[lua_type(e->L, index)]);
}

static bool is_name_of_count(const te_item *key) {
  return key->kind == TE_ITEM_STR &&
         te_slice_equal(key->bytes, te_slice_str("n"));
}

// What is said by a pair of a table, key and value at the top of the stack: how
// many elements it has; or -1.
static lua_Integer count_at_pair(lua_State *L) {
  te_item key;
  bool is_count = lua_type(L, -2) == LUA_TSTRING && lua_isinteger(L, -1) &&
                  scalar_at(L, -2, &key) && is_name_of_count(&key);
  return is_count ? lua_tointeger(L, -1) : -1;
}

// An array when the keys are exactly 1 to some number, or when their count is
// said beside them and as many nils would fit; else a map.
static te_item shape_of(const encoder *e, int table) {
  lua_State *L = e->L;
  size_t numbers = 0, others = 0;
  lua_Integer last = 0, count = -1;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_Integer number = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
    if (number > 0) {
      numbers++;
      if (number > last) last = number;
    } else {
      others++;
      if (e->counts && count < 0) count = count_at_pair(L);
    }
    lua_pop(L, 1);
  }
  if (others == 0 && (lua_Integer)numbers == last)
    return (te_item){.kind = TE_ITEM_ARRAY, .count = numbers};
  if (others == 1 && numbers > 0 && count >= last && (size_t)count <= left(e))
    return (te_item){.kind = TE_ITEM_ARRAY, .count = (size_t)count};
  return (te_item){.kind = TE_ITEM_MAP, .count = numbers + others};
}

static int encode_value(encoder *e, int index);

// Slots 1 to `count`; leaves the trail at what was refused.
static int encode_list(encoder *e, int table, size_t count) {
  te_item *step = &e->trail.steps[e->trail.depth++];
  step->kind = TE_ITEM_INT;
  int value = lua_gettop(e->L) + 1;
  for (step->integer = 1; step->integer <= (int64_t)count; step->integer++) {
    lua_rawgeti(e->L, table, step->integer);
    int rc = encode_value(e, value);
    if (rc < 0) return rc;
    lua_pop(e->L, 1);
  }
  e->trail.depth--;
  return 0;
}

static int encode_map(encoder *e, int table) {
  int key = lua_gettop(e->L) + 1;
  lua_pushnil(e->L);
  while (lua_next(e->L, table)) {
    te_item *step = &e->trail.steps[e->trail.depth];
    int rc = key_at(e, key, step);
    if (rc == 0) rc = add(e, step);
    if (rc < 0) return rc;
    e->trail.depth++;
    rc = encode_value(e, key + 1);
    if (rc < 0) return rc;
    e->trail.depth--;
    lua_pop(e->L, 1);
  }
  return 0;
}

// What the metatable says of why its table cannot be sent; NULL: it can.
static const char *refusal_of(lua_State *L, int table) {
  if (!lua_getmetatable(L, table)) return NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &REFUSAL_KEY);
  const char *says = NULL;
  // The metatable keeps the string.
  if (lua_rawget(L, -2) == LUA_TSTRING) says = lua_tostring(L, -1);
  lua_pop(L, 2);
  return says;
}

static int encode_table(encoder *e, int table) {
  e->tables[e->trail.depth] = lua_topointer(e->L, table);
  if (e->trail.depth == e->depth_max) return TE_EDEPTH;
  if (!lua_checkstack(e->L, SLOTS_PER_TABLE)) {
    return refuse(e, "no room for it on the Lua stack");
  }
  const char *refusal = refusal_of(e->L, table);
  if (refusal != NULL) return refuse(e, refusal);
  te_item head = shape_of(e, table);
  int rc = add(e, &head);
  if (rc < 0) return rc;
  return head.kind == TE_ITEM_MAP ? encode_map(e, table)
                                  : encode_list(e, table, head.count);
}

static int encode_value(encoder *e, int index) {
  int type = lua_type(e->L, index);
  if (type == LUA_TTABLE) return encode_table(e, index);
  te_item item;
  if (!scalar_at(e->L, index, &item)) return refuse(e, CANNOT_BE_SENT[type]);
  return add(e, &item);
}

// Cuts the trail where a table comes up again inside itself.
static bool find_cycle(encoder *e, size_t tables) {
  for (size_t i = 1; i < tables; i++) {
    for (size_t outer = 0; outer < i; outer++) {
      if (e->tables[i] == e->tables[outer]) {
        e->trail.depth = i;
        return true;
      }
    }
  }
  return false;
}

static void begin(encoder *e, lua_State *L, te_buf *out) {
  e->L = L;
  e->out = out;
  e->mark = te_buf_size(out);
  e->says = NULL;
  e->trail.depth = 0;
}

static void set_limits(encoder *e, const te_codec_limits *limits,
                       const char *root, size_t bytes_max) {
  bool given = limits != NULL;
  e->trail.root = given && limits->root != NULL ? limits->root : root;
  e->bytes_max = given && limits->bytes_max > 0 ? limits->bytes_max : bytes_max;
  e->counts = given && limits->counts;
  // What the format can say of one string or table.
  if (e->bytes_max > UINT32_MAX) e->bytes_max = UINT32_MAX;
}

static int explain(encoder *e, int rc, char *why, size_t why_size) {
  // A table that contains itself is refused by one limit or the other.
  size_t tables = e->trail.depth + (rc == TE_EDEPTH ? 1 : 0);
  if (rc != TE_ECANNOT && find_cycle(e, tables)) {
    rc = refuse(e, "a cycle cannot be sent");
  }
  if (rc == TE_ECANNOT) {
    te_trail_say(&e->trail, why, why_size, "%s", e->says);
  } else if (rc == TE_EDEPTH) {
    te_trail_say(&e->trail, why, why_size, "nested deeper than %d",
                 TE_VALUE_DEPTH_MAX);
  } else {
    te_trail_say_too_large(e->trail.root, e->bytes_max, why, why_size);
  }
  return rc;
}

// Leaves the Lua stack, and after a failure `out`, as they were.
static int finish(encoder *e, int rc, int top, char *why, size_t why_size) {
  if (rc < 0) {
    te_buf_cut(e->out, e->mark);
    rc = explain(e, rc, why, why_size);
  }
  lua_settop(e->L, top);
  return rc;
}

int te_codec_encode(lua_State *L, int index, te_buf *out,
                    const te_codec_limits *limits, char *why, size_t why_size) {
  int top = lua_gettop(L);
  encoder e;
  begin(&e, L, out);
  set_limits(&e, limits, "value", (size_t)TE_RESULT_BYTES_MAX);
  e.depth_max = TE_VALUE_DEPTH_MAX;
  int rc = encode_value(&e, lua_absindex(L, index));
  return finish(&e, rc, top, why, why_size);
}

// The count at the top of the stack, a number or not; negative if it is none.
static int64_t count_at_top(lua_State *L) {
  int is_count = 0;
  lua_Integer n = -1;
  if (lua_type(L, -1) == LUA_TNUMBER) n = lua_tointegerx(L, -1, &is_count);
  return is_count ? n : -1;
}

/*
 * How many arguments the table lists. Looks at every key: one that stands for
 * no argument (a name, or a number beyond the count) must not get lost.
 */
static int count_args(encoder *e, int table, size_t *count) {
  int64_t n = (int64_t)lua_rawlen(e->L, table);
  int64_t last = 0;
  te_item *step = &e->trail.steps[0];
  lua_pushnil(e->L);
  while (lua_next(e->L, table)) {
    e->trail.depth = 0;
    int rc = key_at(e, -2, step);
    if (rc < 0) return rc;
    e->trail.depth = 1;
    if (is_name_of_count(step)) {
      n = count_at_top(e->L);
      if (n < 0) return refuse(e, "not a count of arguments");
    } else if (step->kind == TE_ITEM_INT && step->integer > 0) {
      if (step->integer > last) last = step->integer;
    } else {
      return refuse(e, "not an argument: they are numbered from 1");
    }
    lua_pop(e->L, 1);
  }
  if (last > n) {
    step->kind = TE_ITEM_INT;
    step->integer = last;
    return refuse(e, "beyond the count (a list with holes needs its n)");
  }
  e->trail.depth = 0;
  *count = (size_t)n;
  return 0;
}

int te_codec_encode_args(lua_State *L, int index, te_buf *out,
                         const te_codec_limits *limits, char *why,
                         size_t why_size) {
  int table = lua_absindex(L, index);
  int top = lua_gettop(L);
  encoder e;
  begin(&e, L, out);
  set_limits(&e, limits, "args", (size_t)TE_MESSAGE_BYTES_MAX);
  e.depth_max = TE_VALUE_DEPTH_MAX + 1;
  e.tables[0] = lua_topointer(L, table);
  te_item head = {.kind = TE_ITEM_ARRAY, .count = 0};
  int rc = lua_checkstack(L, SLOTS_PER_TABLE)
               ? count_args(&e, table, &head.count)
               : refuse(&e, "no room for it on the Lua stack");
  if (rc == 0) rc = add(&e, &head);
  if (rc == 0) rc = encode_list(&e, table, head.count);
  return finish(&e, rc, top, why, why_size);
}

static int push_value(lua_State *L, te_reader *r, int depth);

static void push_scalar(lua_State *L, const te_item *item) {
  switch (item->kind) {
    case TE_ITEM_BOOL: lua_pushboolean(L, item->truth); break;
    case TE_ITEM_INT: lua_pushinteger(L, item->integer); break;
    case TE_ITEM_FLOAT: lua_pushnumber(L, item->number); break;
    case TE_ITEM_STR:
    case TE_ITEM_BIN:
      lua_pushlstring(L, item->bytes.data, item->bytes.size);
      break;
    case TE_ITEM_NIL:
    case TE_ITEM_ARRAY:
    case TE_ITEM_MAP: lua_pushnil(L); break;
  }
}

static int push_array(lua_State *L, te_reader *r, size_t count, int depth) {
  lua_createtable(L, (int)count, 0);
  for (size_t i = 1; i <= count; i++) {
    int rc = push_value(L, r, depth);
    if (rc < 0) return rc;
    lua_rawseti(L, -2, (lua_Integer)i);
  }
  return 0;
}

static int push_map(lua_State *L, te_reader *r, size_t count, int depth) {
  lua_createtable(L, 0, (int)count);
  for (size_t i = 0; i < count; i++) {
    te_item key;
    int rc = te_reader_next_key(r, &key);
    if (rc < 0) return rc;
    push_scalar(L, &key);
    rc = push_value(L, r, depth);
    if (rc < 0) return rc;
    lua_rawset(L, -3);
  }
  return 0;
}

// `depth` is the number of tables around it. Leaves its parts on failure.
static int push_value(lua_State *L, te_reader *r, int depth) {
  te_item item;
  int rc = te_reader_next(r, &item);
  if (rc < 0) return rc;
  if (te_item_is_open(&item)) {
    if (depth == TE_VALUE_DEPTH_MAX) return TE_EDEPTH;
    if (!lua_checkstack(L, SLOTS_PER_TABLE)) return TE_ELIMIT;
    return item.kind == TE_ITEM_MAP ? push_map(L, r, item.count, depth + 1)
                                    : push_array(L, r, item.count, depth + 1);
  }
  if (item.kind == TE_ITEM_NIL && depth > 0) {
    lua_pushlightuserdata(L, NULL);
  } else {
    push_scalar(L, &item);
  }
  return 0;
}

int te_codec_decode(lua_State *L, te_slice bytes, size_t *used) {
  if (bytes.size > INT_MAX) return TE_ELIMIT;  // a count has to fit an int
  if (!lua_checkstack(L, 1)) return TE_ELIMIT;
  int top = lua_gettop(L);
  te_reader r = te_reader_of(bytes);
  int rc = push_value(L, &r, 0);
  if (rc == 0 && used == NULL && r.at != r.end) rc = TE_EMALFORMED;
  if (rc < 0) {
    lua_settop(L, top);
  } else if (used != NULL) {
    *used = (size_t)(r.at - bytes.data);
  }
  return rc;
}

int te_codec_decode_args(lua_State *L, te_slice bytes) {
  if (bytes.size > INT_MAX) return TE_ELIMIT;
  int top = lua_gettop(L);
  te_reader r = te_reader_of(bytes);
  te_item head;
  int rc = te_reader_next(&r, &head);
  if (rc < 0) return rc;
  if (head.kind != TE_ITEM_ARRAY) return TE_EMALFORMED;
  if (!lua_checkstack(L, (int)head.count)) return TE_ELIMIT;
  for (size_t i = 0; i < head.count && rc == 0; i++)
    rc = push_value(L, &r, 0);
  if (rc == 0 && r.at != r.end) rc = TE_EMALFORMED;
  if (rc < 0) lua_settop(L, top);
  return rc < 0 ? rc : (int)head.count;
}
