#include "pipeline.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#define CAP_MIN     16  // a power of two
// A function that is not in the library either must not be sent for ever.
#define RESENDS_MAX 3

typedef struct call {
  te_pipeline_cb cb;  // may be NULL
  void *arg;
  uint64_t block_ms;
  size_t size;  // of the bytes that its queue holds for it
  int status;   // why it failed
  int resends;
  te_call_kind kind;
  bool is_function;
} call;

// First in, first out, with the bytes of the calls. Zeroed: empty.
typedef struct queue {
  call *item;  // a ring
  size_t first;
  size_t count;
  size_t cap;  // a power of two, or 0
  te_buf bytes;
} queue;

struct te_pipeline {
  queue sent;
  queue again;
  queue later;
  queue failed;
  size_t users;
  bool has_library;
  bool is_held;
  // The command being built.
  te_buf *target;  // NULL: it will fail
  size_t mark;     // where it begins
  size_t args_left;
  bool is_first_arg;
  bool is_function;
};

static void queue_free(queue *q) {
  te_free(q->item);
  te_buf_free(&q->bytes);
  memset(q, 0, sizeof(*q));
}

static size_t place_of(const queue *q, size_t i) {
  return (q->first + i) & (q->cap - 1);
}

static void queue_grow(queue *q) {
  size_t cap = q->cap == 0 ? CAP_MIN : q->cap * 2;
  call *item = te_alloc_zero(cap, sizeof(*item));
  for (size_t i = 0; i < q->count; i++)
    item[i] = q->item[place_of(q, i)];
  te_free(q->item);
  q->item = item;
  q->first = 0;
  q->cap = cap;
}

// c->size bytes must be in q->bytes already.
static void queue_add(queue *q, const call *c) {
  if (q->count == q->cap) queue_grow(q);
  q->item[place_of(q, q->count)] = *c;
  q->count++;
}

// False when empty. `bytes` borrows until the next change to q.
static bool queue_take(queue *q, call *c, te_slice *bytes) {
  if (q->count == 0) return false;
  *c = q->item[q->first];
  q->first = place_of(q, 1);
  q->count--;
  *bytes = te_slice_of(te_buf_slice(&q->bytes).data, c->size);
  te_buf_consume(&q->bytes, c->size);
  return true;
}

static void finish(te_pipeline *p, const call *c, int status,
                   const te_reply *reply) {
  if (c->kind != TE_CALL_USER) return;
  assert(p->users > 0);
  p->users--;
  if (c->cb != NULL) c->cb(c->arg, status, reply);
}

// Status 0: each has its own. Callbacks may add calls, which stay.
static void fail(te_pipeline *p, queue *q, int status) {
  queue lost = *q;
  call c;
  te_slice bytes;
  memset(q, 0, sizeof(*q));
  while (queue_take(&lost, &c, &bytes))
    finish(p, &c, status == 0 ? c.status : status, NULL);
  queue_free(&lost);
}

te_pipeline *te_pipeline_new(bool has_library) {
  te_pipeline *p = te_alloc_zero(1, sizeof(*p));
  p->has_library = has_library;
  return p;
}

void te_pipeline_close(te_pipeline *p) {
  if (p == NULL) return;
  fail(p, &p->sent, TE_ECLOSED);
  fail(p, &p->again, TE_ECLOSED);
  fail(p, &p->later, TE_ECLOSED);
  while (p->failed.count > 0)
    fail(p, &p->failed, 0);
  assert(p->users == 0);
  queue_free(&p->sent);
  queue_free(&p->again);
  queue_free(&p->later);
  queue_free(&p->failed);
  te_free(p);
}

void te_pipeline_begin(te_pipeline *p, te_buf *out, size_t argc) {
  assert(argc > 0 && p->args_left == 0);
  p->args_left = argc;
  p->is_first_arg = true;
  p->target = out != NULL && p->is_held ? &p->later.bytes : out;
  if (p->target == NULL) return;
  p->mark = te_buf_size(p->target);
  te_resp_add_array(p->target, argc);
}

static bool is_function_call(te_slice command) {
  return (command.size == 5 && strncasecmp(command.data, "FCALL", 5) == 0) ||
         (command.size == 8 && strncasecmp(command.data, "FCALL_RO", 8) == 0);
}

void te_pipeline_add(te_pipeline *p, te_slice arg) {
  assert(p->args_left > 0);
  p->args_left--;
  if (p->is_first_arg) p->is_function = is_function_call(arg);
  p->is_first_arg = false;
  if (p->target != NULL) te_resp_add_string(p->target, arg);
}

// `bytes` are in the connection's buffer already.
static void add_sent(te_pipeline *p, call *c, te_slice bytes) {
  c->size = c->is_function && p->has_library ? bytes.size : 0;
  if (c->size > 0) te_buf_add_slice(&p->sent.bytes, bytes);
  queue_add(&p->sent, c);
}

void te_pipeline_end(te_pipeline *p, uint64_t block_ms, int status,
                     te_pipeline_cb cb, void *arg) {
  assert(p->args_left == 0);
  call c = {
      .cb = cb,
      .arg = arg,
      .block_ms = block_ms,
      .status = status,
      .kind = TE_CALL_USER,
      .is_function = p->is_function,
  };
  p->users++;
  if (p->target == NULL) {
    queue_add(&p->failed, &c);
    return;
  }
  te_slice bytes = te_buf_slice(p->target);
  bytes = te_slice_of(bytes.data + p->mark, bytes.size - p->mark);
  if (p->is_held) {
    c.size = bytes.size;
    queue_add(&p->later, &c);
  } else {
    add_sent(p, &c, bytes);
  }
}

void te_pipeline_add_own(te_pipeline *p, te_call_kind kind) {
  call c = {.kind = kind};
  queue_add(&p->sent, &c);
}

void te_pipeline_take_own(te_pipeline *p) {
  call c;
  te_slice bytes;
  bool is_there = queue_take(&p->sent, &c, &bytes);
  assert(is_there && c.kind != TE_CALL_USER);
  (void)is_there;
}

te_call_kind te_pipeline_first(const te_pipeline *p, uint64_t *block_ms) {
  *block_ms = 0;
  if (p->sent.count == 0) return TE_CALL_NONE;
  const call *c = &p->sent.item[p->sent.first];
  *block_ms = c->block_ms;
  return c->kind;
}

bool te_pipeline_take_reply(te_pipeline *p, const te_reply *reply) {
  call c;
  te_slice bytes;
  bool is_there = queue_take(&p->sent, &c, &bytes);
  assert(is_there && c.kind == TE_CALL_USER);
  (void)is_there;
  if (c.size > 0 && c.resends < RESENDS_MAX &&
      te_reply_is_error(reply, "ERR Function not found")) {
    c.resends++;
    te_buf_add_slice(&p->again.bytes, bytes);
    queue_add(&p->again, &c);
    return true;
  }
  finish(p, &c, 0, reply);
  return false;
}

void te_pipeline_hold(te_pipeline *p) {
  p->is_held = true;
}

bool te_pipeline_is_held(const te_pipeline *p) {
  return p->is_held;
}

static void send_all(te_pipeline *p, queue *q, te_buf *out) {
  call c;
  te_slice bytes;
  while (queue_take(q, &c, &bytes)) {
    te_buf_add_slice(out, bytes);
    add_sent(p, &c, bytes);
  }
}

void te_pipeline_resume(te_pipeline *p, te_buf *out) {
  p->is_held = false;
  send_all(p, &p->again, out);
  send_all(p, &p->later, out);
}

void te_pipeline_lose(te_pipeline *p) {
  p->is_held = false;
  fail(p, &p->sent, TE_ELOST);
  fail(p, &p->again, TE_EDOWN);
  fail(p, &p->later, TE_EDOWN);
}

void te_pipeline_tell_failed(te_pipeline *p) {
  fail(p, &p->failed, 0);
}
