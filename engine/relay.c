#include "relay.h"

#include <assert.h>
#include <string.h>

#include "list.h"
#include "map.h"
#include "pack.h"

#define ARGS_MAX 8192

// A child that waits for a task's outcome.
typedef struct waiter {
  te_list link;
  te_child_ref child;
} waiter;

typedef struct awaited {
  char id[TE_ID_BYTES];
  te_list waiters;
} awaited;

// An outcome that came to the bell before the reply to te1_await came on the
// other connection.
typedef struct early {
  te_list link;
  size_t size;
  char item[];
} early;

struct te_relay {
  te_pool *pool;
  te_queue *queue;
  te_map awaited;  // by id
  te_list early;   // empty while no te1_await is under way
  size_t awaits;   // under way
  size_t calls;    // under way, awaits among them
  bool is_closed;
};

// A call under way.
typedef struct call {
  te_relay *relay;
  te_child_ref from;
  uint32_t request;
  bool is_await;
} call;

typedef struct function {
  const char *name;
  bool has_inbox;  // its first argument is the inbox: the worker's bell
} function;

static const function FUNCTIONS[] = {
    {"te1_enqueue", false}, {"te1_await", true}, {"te1_unwait", true},
    {"te1_outcome", false}, {"te1_look", false}, {"te1_forget", false},
    {"te1_cancel", false},
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

static void add_waiter(te_relay *r, te_slice id, te_child_ref child) {
  awaited *a = te_map_find(&r->awaited, id);
  if (a == NULL) {
    a = te_alloc(sizeof(*a));
    memcpy(a->id, id.data, TE_ID_BYTES);
    te_list_init(&a->waiters);
    te_map_set(&r->awaited, te_slice_of(a->id, TE_ID_BYTES), a);
  }
  waiter *w = te_alloc(sizeof(*w));
  w->child = child;
  te_list_add_last(&a->waiters, &w->link);
}

static void free_awaited(awaited *a) {
  te_list_each (link, &a->waiters)
    te_free(te_container_of(link, waiter, link));
  te_free(a);
}

// False when nobody is left who waits for it.
static bool drop_waiter(te_relay *r, te_slice id, te_child_ref child) {
  awaited *a = te_map_find(&r->awaited, id);
  if (a == NULL) return false;
  te_list_each (link, &a->waiters) {
    waiter *w = te_container_of(link, waiter, link);
    if (w->child.index != child.index || w->child.serial != child.serial)
      continue;
    te_list_remove(link);
    te_free(w);
  }
  if (!te_list_is_empty(&a->waiters)) return true;
  te_map_take(&r->awaited, id);
  te_free(a);
  return false;
}

static void keep_early(te_relay *r, te_slice item) {
  early *e = te_alloc(sizeof(*e) + item.size);
  e->size = item.size;
  memcpy(e->item, item.data, item.size);
  te_list_add_last(&r->early, &e->link);
}

static bool send_early(te_relay *r, te_slice id, te_child_ref child) {
  te_list_each (link, &r->early) {
    early *e = te_container_of(link, early, link);
    if (!te_slice_equal(te_slice_of(e->item, TE_ID_BYTES), id)) continue;
    te_pool_send_item(r->pool, child, te_slice_of(e->item, e->size));
    return true;
  }
  return false;
}

static void drop_early(te_relay *r) {
  te_list_each (link, &r->early) {
    te_list_remove(link);
    te_free(te_container_of(link, early, link));
  }
}

// Those that Redis answered with "=" and an id will come to the bell.
static void note_awaited(te_relay *r, te_child_ref child,
                         const te_reply *reply) {
  if (reply->type != TE_REPLY_ARRAY) return;
  for (size_t i = 0; i < reply->count; i++) {
    te_slice s = reply->item[i]->text;
    if (s.size != 1 + TE_ID_BYTES || s.data[0] != '=') continue;
    te_slice id = te_slice_of(s.data + 1, TE_ID_BYTES);
    if (!send_early(r, id, child)) add_waiter(r, id, child);
  }
}

void te_relay_item(te_relay *r, te_slice item) {
  if (item.size <= TE_ID_BYTES) return;
  awaited *a = te_map_take(&r->awaited, te_slice_of(item.data, TE_ID_BYTES));
  if (a == NULL) {
    // Unless somebody is just asking for it, its child died.
    if (r->awaits > 0) keep_early(r, item);
    return;
  }
  te_list_each (link, &a->waiters)
    te_pool_send_item(r->pool, te_container_of(link, waiter, link)->child,
                      item);
  free_awaited(a);
}

/* Calls. */

static void release(te_relay *r) {
  if (r->is_closed && r->calls == 0) te_free(r);
}

static void answer(const call *c, int status, const te_reply *reply) {
  te_relay *r = c->relay;
  te_buf out;
  te_buf_init(&out);
  if (status == 0 && reply->type == TE_REPLY_ERROR) status = TE_EREPLY;
  if (status == 0 && c->is_await) note_awaited(r, c->from, reply);
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
  if (c->is_await && --r->awaits == 0) drop_early(r);
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

static size_t take_args(te_slice payload, te_slice *args) {
  size_t n = 0;
  while (n < ARGS_MAX && take_arg(&payload, &args[n]))
    n++;
  return payload.size == 0 ? n : 0;
}

static const function *find_function(te_slice name) {
  for (size_t i = 0; i < sizeof(FUNCTIONS) / sizeof(FUNCTIONS[0]); i++) {
    const function *f = &FUNCTIONS[i];
    if (te_slice_equal(name, te_slice_str(f->name))) return f;
  }
  return NULL;
}

// Another child may wait for the same: then the worker goes on waiting.
static size_t drop_waiters(te_relay *r, te_child_ref from, te_slice *ids,
                           size_t n) {
  size_t left = 0;
  for (size_t i = 0; i < n; i++)
    if (!drop_waiter(r, ids[i], from)) ids[left++] = ids[i];
  return left;
}

static void forward(te_relay *r, const function *f, const te_slice *args,
                    size_t n, call *c) {
  te_redis *redis = te_queue_redis(r->queue);
  te_redis_begin(redis, 4 + n);
  te_redis_add(redis, te_slice_str("FCALL"));
  te_redis_add(redis, te_slice_str(f->name));
  te_redis_add(redis, te_slice_str("1"));
  te_redis_add(redis, te_queue_prefix(r->queue));
  for (size_t i = 0; i < n; i++) {
    bool is_inbox = i == 0 && f->has_inbox;
    te_redis_add(redis, is_inbox ? te_queue_inbox(r->queue) : args[i]);
  }
  te_redis_end(redis, 0, on_reply, c);
}

void te_relay_request(te_relay *r, te_child_ref from, uint32_t request,
                      te_slice payload) {
  te_slice *args = te_alloc(ARGS_MAX * sizeof(*args));
  size_t n = take_args(payload, args);
  const function *f = n > 0 ? find_function(args[0]) : NULL;
  if (f == NULL || (f->has_inbox && n < 2)) {
    te_pool_reply(r->pool, from, request, TE_EPROTO,
                  te_slice_str("a task may not call this"));
  } else {
    if (strcmp(f->name, "te1_unwait") == 0)
      n = 2 + drop_waiters(r, from, args + 2, n - 2);
    call *c = te_alloc(sizeof(*c));
    c->relay = r;
    c->from = from;
    c->request = request;
    c->is_await = strcmp(f->name, "te1_await") == 0;
    if (c->is_await) r->awaits++;
    r->calls++;
    forward(r, f, args + 1, n - 1, c);
  }
  te_free(args);
}

te_relay *te_relay_new(te_pool *pool, te_queue *queue) {
  te_relay *r = te_alloc_zero(1, sizeof(*r));
  r->pool = pool;
  r->queue = queue;
  te_map_init(&r->awaited);
  te_list_init(&r->early);
  return r;
}

void te_relay_forget(te_relay *r) {
  size_t cursor = 0;
  awaited *a;
  while ((a = te_map_next(&r->awaited, &cursor, NULL)) != NULL)
    free_awaited(a);
  te_map_free(&r->awaited);
  drop_early(r);
}

void te_relay_close(te_relay *r) {
  if (r == NULL) return;
  te_relay_forget(r);
  r->is_closed = true;
  release(r);
}
