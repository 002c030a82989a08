/***
Tasks as they wait and travel, see docs/protocol.md.
@module taskengine.core.envelope
*/
#include "envelope.h"

#include <limits.h>
#include <stdio.h>

#include "bind/bind.h"
#include "bind/body.h"
#include "bind/options.h"
#include "bind/scratch.h"
#include "clock.h"
#include "id.h"
#include "trail.h"

// The upvalues; a body in JSON is MessagePack before.
enum { ENVELOPE = 1, PACKED };

#define SEQ_MAX ((lua_Integer)TE_ID_SEQ_MAX)

static lua_Integer integer_field(lua_State *L, const char *name,
                                 lua_Integer fallback, lua_Integer max) {
  te_bind_raw_field(L, 1, name);
  int is_integer = 1;
  lua_Integer v =
      lua_isnil(L, -1) ? fallback : lua_tointegerx(L, -1, &is_integer);
  lua_pop(L, 1);
  if (!is_integer || v < 0 || v > max)
    luaL_error(L, "%s: not an integer from 0 to %I", name, max);
  return v;
}

// The string stays alive in the caller's table.
static te_slice name_field(lua_State *L, const char *name, bool may_be_empty) {
  te_bind_raw_field(L, 1, name);
  te_slice s = {"", 0};
  if (!lua_isnil(L, -1)) {
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "%s: no string", name);
    s.data = lua_tolstring(L, -1, &s.size);
  }
  lua_pop(L, 1);
  bool is_fine = s.size == 0 ? may_be_empty : te_name_is_valid(s);
  if (!is_fine) luaL_error(L, "%s: not a valid name", name);
  return s;
}

// Bytes of that size, or none.
static te_slice bytes_field(lua_State *L, const char *name, size_t size) {
  te_bind_raw_field(L, 1, name);
  te_slice s = {"", 0};
  if (!lua_isnil(L, -1)) {
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "%s: no string", name);
    s.data = lua_tolstring(L, -1, &s.size);
    if (s.size != size) luaL_error(L, "%s: not %d bytes", name, (int)size);
  }
  lua_pop(L, 1);
  return s;
}

/***
The header and names that tasks of one kind share.
@function template
@tparam table fields `queue`, `name`; and where they are not zero `priority`,
  `flags`, `attempt`, `time_limit_ms`, `soft_time_limit_ms`, `result_ttl_s`,
  `limit_key`, `alias`, and as bytes `flow` with `node`, and `unique`
@treturn string
@raise when a field is no valid name or number, or not of its size
*/
static int envelope_template(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  te_envelope e = {0};
  e.queue = name_field(L, "queue", false);
  e.name = name_field(L, "name", false);
  e.limit_key = name_field(L, "limit_key", true);
  e.alias = name_field(L, "alias", true);
  e.flow = bytes_field(L, "flow", TE_ID_BYTES);
  e.node = (uint32_t)integer_field(L, "node", 0, UINT32_MAX);
  e.unique = bytes_field(L, "unique", TE_UNIQUE_BYTES);
  e.priority = (uint8_t)integer_field(L, "priority", 0, 9);
  e.flags = (uint8_t)integer_field(L, "flags", 0, UINT8_MAX);
  e.attempt = (uint8_t)integer_field(L, "attempt", 0, UINT8_MAX);
  e.time_limit_ms = (uint32_t)integer_field(L, "time_limit_ms", 0, UINT32_MAX);
  e.soft_time_limit_ms =
      (uint32_t)integer_field(L, "soft_time_limit_ms", 0, UINT32_MAX);
  e.result_ttl_s = (uint32_t)integer_field(L, "result_ttl_s", 0, UINT32_MAX);

  te_buf *out = te_bind_scratch(L, ENVELOPE);
  te_envelope_add_template(out, &e);
  te_bind_scratch_pour(L, out);
  return 1;
}

static te_body body_of(lua_State *L, te_slice template_, int extra) {
  te_body body = {.extra = extra};
  bool is_json = (te_envelope_template_flags(template_) & TE_FLAG_JSON) != 0;
  if (is_json) body.packed = te_bind_scratch(L, PACKED);
  return body;
}

static size_t opt_limit(lua_State *L, int arg) {
  lua_Integer limit = luaL_optinteger(L, arg, TE_MESSAGE_BYTES_MAX);
  luaL_argcheck(L, limit > 0 && limit <= UINT32_MAX, arg,
                "a limit is 1 byte to 4 GiB");
  return (size_t)limit;
}

static lua_Integer check_seq(lua_State *L, int arg) {
  lua_Integer seq = luaL_checkinteger(L, arg);
  luaL_argcheck(L, seq >= 0 && seq <= SEQ_MAX, arg, "not a sequence number");
  return seq;
}

static te_slice check_template(lua_State *L, int arg) {
  te_slice t = te_bind_check_slice(L, arg);
  luaL_argcheck(L, te_envelope_is_template(t), arg, "not a template");
  return t;
}

/***
Packs one call.
@function pack
@tparam string template from @{template}
@tparam string id 20 characters
@tparam table args the arguments: `args.n` of them if given, else `#args`
@tparam[opt] table extra `h` headers, `r` root id, `p` parent id
@tparam[opt] int limit the body's greatest size in bytes
@treturn[1] string the envelope
@return[2] nil
@treturn[2] string what cannot travel, and where
@treturn[2] string `"ECANNOT"`, `"EDEPTH"` or `"ELIMIT"`
*/
static int envelope_pack(lua_State *L) {
  te_slice template_ = check_template(L, 1);
  te_slice id = te_bind_check_slice(L, 2);
  luaL_argcheck(L, id.size == TE_ID_BYTES, 2, "not a task id");
  luaL_checktype(L, 3, LUA_TTABLE);
  te_body body = body_of(L, template_, 4);
  body.args = 3;
  body.bytes_max = opt_limit(L, 5);
  lua_settop(L, 4);

  te_buf *out = te_bind_scratch(L, ENVELOPE);
  char why[TE_WHY_BYTES_MAX];
  te_envelope_add_head(out, id, template_, (uint64_t)te_clock_wall_ms());
  int rc = te_body_add(L, &body, out, why);
  if (rc < 0) return te_bind_fail_why(L, rc, why);
  te_bind_scratch_pour(L, out);
  return 1;
}

/***
The body that an envelope would have with other arguments. Inputs that a flow
gave to it are not among them.
@function body
@tparam string envelope
@tparam table args as for @{pack}
@tparam[opt] table extra
@tparam[opt] int limit
@treturn[1] string
@return[2] nil
@treturn[2] string what cannot travel, and where
@treturn[2] string its code
*/
static int envelope_body(lua_State *L) {
  te_envelope e;
  int rc = te_envelope_read(te_bind_check_slice(L, 1), &e);
  luaL_argcheck(L, rc == 0, 1, "not an envelope");
  luaL_checktype(L, 2, LUA_TTABLE);
  bool is_json = (e.flags & TE_FLAG_JSON) != 0;
  te_body body = {.args = 2,
                  .extra = 3,
                  .bytes_max = opt_limit(L, 4),
                  .packed = is_json ? te_bind_scratch(L, PACKED) : NULL};
  lua_settop(L, 3);

  te_buf *out = te_bind_scratch(L, ENVELOPE);
  char why[TE_WHY_BYTES_MAX];
  if (e.flow.size > 0) te_buf_add_u32(out, 0);
  rc = te_body_add(L, &body, out, why);
  if (rc < 0) return te_bind_fail_why(L, rc, why);
  te_bind_scratch_pour(L, out);
  return 1;
}

static te_slice check_producer(lua_State *L, int arg) {
  te_slice p = te_bind_check_slice(L, arg);
  luaL_argcheck(L, p.size == TE_ID_PRODUCER_BYTES, arg, "not a producer");
  return p;
}

/***
Packs many calls of one task, with consecutive ids.
@function pack_many
@tparam string template
@tparam string producer
@tparam int seq the sequence number of the first
@tparam table list of lists of arguments
@tparam int first
@tparam int last the part of the list to pack
@tparam[opt] table extra
@tparam[opt] int limit
@treturn[1] {string,...} the envelopes
@treturn[1] int their bytes, together
@return[2] nil
@treturn[2] string which one cannot travel, and why
@treturn[2] string its code
*/
static int envelope_pack_many(lua_State *L) {
  te_slice template_ = check_template(L, 1);
  te_slice producer = check_producer(L, 2);
  lua_Integer seq = check_seq(L, 3);
  luaL_checktype(L, 4, LUA_TTABLE);
  lua_Integer first = luaL_checkinteger(L, 5);
  lua_Integer last = luaL_checkinteger(L, 6);
  te_body body = body_of(L, template_, 7);
  body.bytes_max = opt_limit(L, 8);
  luaL_argcheck(L, first >= 1, 5, "below 1");
  luaL_argcheck(L, last < INT_MAX, 6, "too many");
  luaL_argcheck(L, last < first || seq + (last - first) <= SEQ_MAX, 3,
                "no sequence numbers are left");
  lua_settop(L, 7);

  te_buf *out = te_bind_scratch(L, ENVELOPE);
  uint64_t sent_ms = (uint64_t)te_clock_wall_ms();
  lua_createtable(L, last < first ? 0 : (int)(last - first + 1), 0);
  lua_Integer total = 0;
  for (lua_Integer i = first; i <= last; i++, seq++) {
    char id[TE_ID_BYTES];
    char why[TE_WHY_BYTES_MAX];
    te_id_format(id, producer.data, (uint64_t)seq);
    if (lua_geti(L, 4, i) != LUA_TTABLE)
      return luaL_error(L, "arguments of call %I: not a table", i);
    te_buf_clear(out);  // what the list calls may have used it
    te_envelope_add_head(out, te_slice_of(id, sizeof(id)), template_, sent_ms);
    body.args = lua_gettop(L);
    int rc = te_body_add(L, &body, out, why);
    if (rc < 0) {
      lua_pushfstring(L, "call %I: %s", i, why);
      return te_bind_fail_why(L, rc, lua_tostring(L, -1));
    }
    lua_pop(L, 1);
    te_slice bytes = te_buf_slice(out);
    lua_pushlstring(L, bytes.data, bytes.size);
    lua_rawseti(L, -2, i - first + 1);
    total += (lua_Integer)bytes.size;
  }
  lua_pushinteger(L, total);
  return 2;
}

static void set_slice(lua_State *L, const char *name, te_slice s) {
  lua_pushlstring(L, s.data, s.size);
  lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, uint64_t v) {
  lua_pushinteger(L, (lua_Integer)v);
  lua_setfield(L, -2, name);
}

/***
What the header says.
@function read
@tparam string envelope
@treturn[1] table a field for each of docs/protocol.md, and `body`
@return[2] nil
@treturn[2] string message
@treturn[2] string `"EMALFORMED"`
*/
static int envelope_read(lua_State *L) {
  te_envelope e;
  int rc = te_envelope_read(te_bind_check_slice(L, 1), &e);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_createtable(L, 0, 21);
  set_slice(L, "id", e.id);
  set_slice(L, "queue", e.queue);
  set_slice(L, "name", e.name);
  set_slice(L, "limit_key", e.limit_key);
  set_slice(L, "alias", e.alias);
  set_slice(L, "flow", e.flow);
  set_slice(L, "unique", e.unique);
  set_slice(L, "body", e.body);
  set_integer(L, "node", e.node);
  set_integer(L, "version", e.version);
  set_integer(L, "flags", e.flags);
  set_integer(L, "attempt", e.attempt);
  set_integer(L, "deaths", e.deaths);
  set_integer(L, "reaps", e.reaps);
  set_integer(L, "priority", e.priority);
  set_integer(L, "delivery", e.delivery);
  set_integer(L, "expiry_ms", e.expiry_ms);
  set_integer(L, "sent_ms", e.sent_ms);
  set_integer(L, "time_limit_ms", e.time_limit_ms);
  set_integer(L, "soft_time_limit_ms", e.soft_time_limit_ms);
  set_integer(L, "result_ttl_s", e.result_ttl_s);
  return 1;
}

/***
Opens a task for the one that runs it.
@function open
@tparam string envelope
@tparam[opt=0] int ahead bytes in front of the body that are not part of it
@treturn[1] string id
@treturn[1] string name
@return[1] table extra, or nil
@return[1] the arguments, one by one
@return[2] nil
@treturn[2] string message
@treturn[2] string `"EMALFORMED"`
*/
static int envelope_open(lua_State *L) {
  te_envelope e;
  int rc = te_envelope_read(te_bind_check_slice(L, 1), &e);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_Integer ahead = luaL_optinteger(L, 2, 0);
  luaL_argcheck(L, ahead >= 0, 2, "not negative");
  if ((lua_Unsigned)ahead > e.body.size) return te_bind_fail(L, TE_EMALFORMED);
  e.body.data += ahead;
  e.body.size -= (size_t)ahead;

  int top = lua_gettop(L);
  lua_pushlstring(L, e.id.data, e.id.size);
  lua_pushlstring(L, e.name.data, e.name.size);
  rc = te_body_push(L, e.body, (e.flags & TE_FLAG_JSON) != 0);
  if (rc < 0) return te_bind_fail(L, rc);
  return lua_gettop(L) - top;
}

/***
Draws a producer id.
@function new_producer
@treturn string 12 characters
*/
static int envelope_new_producer(lua_State *L) {
  char producer[TE_ID_PRODUCER_BYTES];
  te_id_producer(producer);
  lua_pushlstring(L, producer, sizeof(producer));
  return 1;
}

/***
The id of a producer's task.
@function id
@tparam string producer
@tparam int seq from 1
@treturn string 20 characters
*/
static int envelope_id(lua_State *L) {
  te_slice producer = check_producer(L, 1);
  lua_Integer seq = check_seq(L, 2);
  char id[TE_ID_BYTES];
  te_id_format(id, producer.data, (uint64_t)seq);
  lua_pushlstring(L, id, sizeof(id));
  return 1;
}

/***
The sequence number in an id.
@function seq
@tparam string id
@treturn[1] int
@treturn[2] nil when the id is not of the engine's form
*/
static int envelope_seq(lua_State *L) {
  uint64_t seq;
  if (te_id_seq(te_bind_check_slice(L, 1), &seq) < 0) return 0;
  lua_pushinteger(L, (lua_Integer)seq);
  return 1;
}

int te_bind_open_envelope(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"template", envelope_template},
      {"pack", envelope_pack},
      {"pack_many", envelope_pack_many},
      {"body", envelope_body},
      {"read", envelope_read},
      {"open", envelope_open},
      {"new_producer", envelope_new_producer},
      {"id", envelope_id},
      {"seq", envelope_seq},
      {NULL, NULL},
  };
  luaL_newlibtable(L, functions);
  te_bind_scratch_push(L);
  te_bind_scratch_push(L);
  luaL_setfuncs(L, functions, PACKED);
  set_integer(L, "NO_RESULT", TE_FLAG_NO_RESULT);
  set_integer(L, "LOST_FAILS", TE_FLAG_LOST_FAILS);
  set_integer(L, "TRACK_STARTED", TE_FLAG_TRACK_STARTED);
  set_integer(L, "JSON", TE_FLAG_JSON);
  set_integer(L, "DEADLINE", TE_FLAG_DEADLINE);
  set_integer(L, "UNIQUE_START", TE_FLAG_UNIQUE_START);
  return 1;
}
