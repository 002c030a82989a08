/*
 * A task as it comes out of Redis: its header, and its body in either
 * serializer.
 */
#include "envelope.h"

#include "bind/body.h"
#include "support/fuzz.h"
#include "trail.h"

static bool has_short_names(const te_envelope *e) {
  return e->queue.size <= TE_NAME_BYTES_MAX &&
         e->name.size <= TE_NAME_BYTES_MAX &&
         e->limit_key.size <= TE_NAME_BYTES_MAX &&
         e->alias.size <= TE_NAME_BYTES_MAX;
}

static void check_same(const te_envelope *a, const te_envelope *b) {
  assert(te_slice_equal(a->id, b->id));
  assert(te_slice_equal(a->queue, b->queue));
  assert(te_slice_equal(a->name, b->name));
  assert(te_slice_equal(a->limit_key, b->limit_key));
  assert(te_slice_equal(a->alias, b->alias));
  assert(te_slice_equal(a->body, b->body));
  assert(a->flags == b->flags && a->attempt == b->attempt);
  assert(a->deaths == b->deaths && a->reaps == b->reaps);
  assert(a->priority == b->priority && a->delivery == b->delivery);
  assert(a->expiry_ms == b->expiry_ms && a->sent_ms == b->sent_ms);
  assert(a->time_limit_ms == b->time_limit_ms);
  assert(a->soft_time_limit_ms == b->soft_time_limit_ms);
  assert(a->result_ttl_s == b->result_ttl_s);
}

static void check_header(const te_envelope *e) {
  te_buf template_ = {0};
  te_buf out = {0};
  te_envelope_add_template(&template_, e);
  assert(te_envelope_is_template(te_buf_slice(&template_)));
  assert(te_envelope_template_flags(te_buf_slice(&template_)) == e->flags);
  te_envelope_add_head(&out, e->id, te_buf_slice(&template_), e->sent_ms);
  te_buf_add_slice(&out, e->body);
  te_envelope again;
  int rc = te_envelope_read(te_buf_slice(&out), &again);
  assert(rc == 0 && again.version == TE_ENVELOPE_VERSION);
  check_same(e, &again);
  te_buf_free(&template_);
  te_buf_free(&out);
}

// Pushes the map at `place`, and behind it the list of arguments.
static int push(lua_State *L, te_slice bytes, bool is_json, int place) {
  int rc = te_body_push(L, bytes, is_json);
  if (rc == 0) fuzz_collect(L, place);
  return rc;
}

static void check_body(te_slice bytes, bool is_json) {
  lua_State *L = fuzz_lua();
  if (push(L, bytes, is_json, 1) < 0) return;
  char why[TE_WHY_BYTES_MAX];
  te_buf packed = {0};
  te_buf out = {0};
  te_body body = {.args = 2,
                  .extra = 1,
                  .bytes_max = (size_t)1 << 30,
                  .packed = is_json ? &packed : NULL};
  int rc = te_body_add(L, &body, &out, why);
  assert(rc == 0);
  rc = push(L, te_buf_slice(&out), is_json, 3);
  assert(rc == 0 && fuzz_same(L, 1, 3) && fuzz_same(L, 2, 4));
  te_buf_free(&packed);
  te_buf_free(&out);
}

void fuzz_one(te_slice bytes) {
  te_envelope e;
  if (te_envelope_read(bytes, &e) == 0) {
    if (has_short_names(&e)) check_header(&e);
    check_body(e.body, (e.flags & TE_FLAG_JSON) != 0);
  }
  // A body alone is found sooner than one behind a header.
  check_body(bytes, false);
  check_body(bytes, true);
}
