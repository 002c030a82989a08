#include "relay.h"

#include <string.h>

#include "awaited.h"
#include "fcall.h"
#include "pack.h"

#define ARGS_MAX       8192
// Of one child, under way. It asks for less, unless it is broken.
#define CALLS_MAX      8192
#define CALL_BYTES_MAX ((size_t)64 * 1024 * 1024)

// What a child has under way.
typedef struct load {
  size_t calls;
  size_t bytes;
} load;

struct te_relay {
  te_pool *pool;
  te_queue *queue;
  te_awaited *awaited;
  size_t calls;  // under way
  load loads[TE_CHILDREN_MAX];
  bool is_closed;
};

// An outcome that a call asks for.
typedef struct asked {
  char id[TE_ID_BYTES];
  bool is_first;  // the child did not wait for it before
} asked;

// A call under way.
typedef struct call {
  te_relay *relay;
  te_child_ref from;
  uint32_t request;
  size_t bytes;
  size_t asked_count;  // 0 unless it is te1_await
  asked asked[];
} call;

typedef struct function {
  const char *name;
  bool has_inbox;  // its first argument is the inbox: the worker's bell
} function;

static const function functions[] = {
    {"te1_enqueue", false},    {"te1_await", true},    {"te1_unwait", true},
    {"te1_outcome", false},    {"te1_look", false},    {"te1_forget", false},
    {"te1_cancel", false},     {"te1_revoke", false},  {"te1_dead", false},
    {"te1_dead_read", false},  {"te1_requeue", false}, {"te1_delete", false},
    {"te1_flow", false},       {"te1_gather", false},  {"te1_flow_look", false},
    {"te1_flow_retry", false}, {"te1_status", false},  {"te1_history", false},
    {"te1_state", false},      {"te1_kin", false},     {"te1_flow_add", false},
};

/* Replies as MessagePack. */

static void pack_text(te_buf *out, te_slice text) {
  te_item item = te_item_of_bytes(text);
  te_pack_add(out, &item);
}

static void pack_reply(te_buf *out, const te_reply *r) {
  te_item item = {.kind = TE_ITEM_BOOL, .truth = false};
  switch (r->type) {
    case TE_REPLY_STRING:
    case TE_REPLY_STATUS:
    case TE_REPLY_ERROR: pack_text(out, r->text); return;
    case TE_REPLY_INTEGER:
      item.kind = TE_ITEM_INT;
      item.integer = r->integer;
      break;
    case TE_REPLY_ARRAY:
      item.kind = TE_ITEM_ARRAY;
      item.count = r->count;
      break;
    case TE_REPLY_NIL: break;  // false, as core.redis has it
  }
  te_pack_add(out, &item);
  if (r->type != TE_REPLY_ARRAY) return;
  for (size_t i = 0; i < r->count; i++)
    pack_reply(out, r->item[i]);  // resp limits the depth
}

/* Who waits for what. */

// Those that Redis answers with "=" and the id will come to the bell, and what
// was asked for before may be about to. Nothing will come of the others.
static void note_answered(const call *c, const te_reply *reply) {
  if (reply->type != TE_REPLY_ARRAY) return;
  for (size_t i = 0; i < reply->count && i < c->asked_count; i++) {
    te_slice s = reply->item[i]->text;
    if (s.size > 0 && s.data[0] == '=') continue;
    const asked *one = &c->asked[i];
    te_slice id = te_slice_of(one->id, TE_ID_BYTES);
    if (one->is_first) te_awaited_remove(c->relay->awaited, id, c->from);
  }
}

typedef struct delivery {
  te_pool *pool;
  te_slice item;
} delivery;

static void deliver(void *arg, te_child_ref child) {
  const delivery *d = arg;
  te_pool_send_item(d->pool, child, d->item);
}

void te_relay_item(te_relay *r, te_slice item) {
  if (item.size <= TE_ID_BYTES) return;
  delivery d = {r->pool, item};
  te_awaited_end(r->awaited, te_slice_of(item.data, TE_ID_BYTES), deliver, &d);
}

/* Calls. */

static void release(te_relay *r) {
  if (!r->is_closed || r->calls > 0) return;
  te_awaited_free(r->awaited);
  te_free(r);
}

static void answer(const call *c, int status, const te_reply *reply) {
  te_relay *r = c->relay;
  te_buf out;
  te_buf_init(&out);
  if (status == 0 && reply->type == TE_REPLY_ERROR) status = TE_EREPLY;
  if (status == 0) note_answered(c, reply);
  if (reply == NULL) {
    te_buf_add_str(&out, te_strerror(status));
  } else if (status < 0) {
    te_buf_add_slice(&out, reply->text);
  } else {
    pack_reply(&out, reply);
  }
  te_pool_reply(r->pool, c->from, c->request, status, te_buf_slice(&out));
  te_buf_free(&out);
}

static void on_reply(void *arg, int status, const te_reply *reply) {
  call *c = arg;
  te_relay *r = c->relay;
  if (!r->is_closed) answer(c, status, reply);
  r->loads[c->from.index].calls--;
  r->loads[c->from.index].bytes -= c->bytes;
  te_free(c);
  r->calls--;
  release(r);
}

// The next argument of a request, off its front; false at the end.
static bool take_arg(te_slice *payload, te_slice *arg) {
  if (payload->size < 4) return false;
  size_t size = te_read_u32(payload->data);
  if (payload->size - 4 < size) return false;
  *arg = te_slice_of(payload->data + 4, size);
  *payload = te_slice_of(arg->data + size, payload->size - 4 - size);
  return true;
}

// 0 when that is not what the payload holds, or too many.
static size_t count_args(te_slice payload) {
  size_t n = 0;
  te_slice arg;
  while (n < ARGS_MAX && take_arg(&payload, &arg))
    n++;
  return payload.size == 0 ? n : 0;
}

static const function *find_function(te_slice name) {
  for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
    const function *f = &functions[i];
    if (te_slice_equal(name, te_slice_str(f->name))) return f;
  }
  return NULL;
}

// Another child may wait for the same: then the worker goes on waiting.
static size_t drop_waiters(te_relay *r, te_child_ref from, te_slice *ids,
                           size_t n) {
  size_t left = 0;
  for (size_t i = 0; i < n; i++)
    if (!te_awaited_remove(r->awaited, ids[i], from)) ids[left++] = ids[i];
  return left;
}

// From now on the child waits: an outcome may come to the bell before the
// reply, and a te1_unwait of another child is not to end the worker's wait.
static call *new_call(te_relay *r, te_child_ref from, uint32_t request,
                      const te_slice *ids, size_t count) {
  call *c = te_alloc(sizeof(*c) + count * sizeof(c->asked[0]));
  c->relay = r;
  c->from = from;
  c->request = request;
  c->asked_count = count;
  for (size_t i = 0; i < count; i++) {
    memcpy(c->asked[i].id, ids[i].data, TE_ID_BYTES);
    c->asked[i].is_first = te_awaited_add(r->awaited, ids[i], from);
  }
  r->calls++;
  return c;
}

static void forward(te_relay *r, const function *f, const te_slice *args,
                    size_t n, call *c) {
  te_redis *redis = te_queue_redis(r->queue);
  te_fcall_begin(redis, te_queue_prefix(r->queue), f->name, n);
  for (size_t i = 0; i < n; i++) {
    bool is_inbox = i == 0 && f->has_inbox;
    te_redis_add(redis, is_inbox ? te_queue_inbox(r->queue) : args[i]);
  }
  te_redis_end(redis, 0, on_reply, c);
}

static bool has_too_much(const te_relay *r, te_child_ref from, size_t bytes) {
  const load *l = &r->loads[from.index];
  return l->calls >= CALLS_MAX ||
         (l->calls > 0 && l->bytes + bytes > CALL_BYTES_MAX);
}

static void count_call(call *c, size_t bytes) {
  load *l = &c->relay->loads[c->from.index];
  c->bytes = bytes;
  l->calls++;
  l->bytes += bytes;
}

// Whether these are an inbox and ids of the engine's, which alone come to it.
static bool are_awaitable(const te_slice *args, size_t n) {
  for (size_t i = 1; i < n; i++)
    if (args[i].size != TE_ID_BYTES) return false;
  return n > 0;
}

// As if Redis had: the child does not ask again.
static void refuse(const te_relay *r, te_child_ref from, uint32_t request,
                   const char *why) {
  te_pool_reply(r->pool, from, request, TE_EREPLY, te_slice_str(why));
}

void te_relay_request(te_relay *r, te_child_ref from, uint32_t request,
                      te_slice payload) {
  te_slice rest = payload;
  size_t n = count_args(payload);
  te_slice *args = te_alloc(n * sizeof(*args));
  for (size_t i = 0; i < n; i++)
    take_arg(&rest, &args[i]);

  const function *f = n > 0 ? find_function(args[0]) : NULL;
  if (f == NULL || (f->has_inbox && !are_awaitable(args + 1, n - 1))) {
    refuse(r, from, request, "a task may not call this function");
  } else if (has_too_much(r, from, payload.size)) {
    refuse(r, from, request, "this process has too many calls under way");
  } else {
    // Behind the inbox stand the ids; other functions have none for us.
    bool is_await = strcmp(f->name, "te1_await") == 0;
    if (strcmp(f->name, "te1_unwait") == 0)
      n = 2 + drop_waiters(r, from, args + 2, n - 2);
    call *c = is_await ? new_call(r, from, request, args + 2, n - 2)
                       : new_call(r, from, request, NULL, 0);
    count_call(c, payload.size);
    forward(r, f, args + 1, n - 1, c);
  }
  te_free(args);
}

te_relay *te_relay_new(te_pool *pool, te_queue *queue) {
  te_relay *r = te_alloc_zero(1, sizeof(*r));
  r->pool = pool;
  r->queue = queue;
  r->awaited = te_awaited_new();
  return r;
}

void te_relay_forget_child(te_relay *r, te_child_ref child) {
  te_awaited_remove_child(r->awaited, child);
}

void te_relay_forget(te_relay *r) {
  te_awaited_clear(r->awaited);
}

void te_relay_close(te_relay *r) {
  if (r == NULL) return;
  r->is_closed = true;
  release(r);
}
