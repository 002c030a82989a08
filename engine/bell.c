#include "bell.h"

#define BLOCK_MS    5000
#define BLOCK_S     "5"
#define ITEMS_MAX_S "100"

struct te_bell {
  te_redis *redis;
  te_bell_events events;
  char *key;
  bool is_closed;
};

static void listen_(te_bell *b);

static void hand_out(te_bell *b, const te_reply *items) {
  bool rings = false;
  for (size_t i = 0; i < items->count && !b->is_closed; i++) {
    te_slice item = items->item[i]->text;
    if (item.size == 0) {
      rings = true;
    } else {
      b->events.on_item(b->events.arg, item);
    }
  }
  if (rings && !b->is_closed) b->events.on_ring(b->events.arg);
}

static void on_reply(void *arg, int status, const te_reply *reply) {
  te_bell *b = arg;
  if (status < 0 || b->is_closed) return;  // on_up starts anew
  if (reply->type == TE_REPLY_ARRAY && reply->count == 2 &&
      reply->item[1]->type == TE_REPLY_ARRAY)
    hand_out(b, reply->item[1]);
  if (!b->is_closed) listen_(b);
}

static void listen_(te_bell *b) {
  const te_slice argv[] = {
      te_slice_str("BLMPOP"),    te_slice_str(BLOCK_S), te_slice_str("1"),
      te_slice_str(b->key),      te_slice_str("LEFT"),  te_slice_str("COUNT"),
      te_slice_str(ITEMS_MAX_S),
  };
  te_redis_call_blocking(b->redis, argv, sizeof(argv) / sizeof(argv[0]),
                         BLOCK_MS, on_reply, b);
}

static void on_up(void *arg, te_redis *redis) {
  (void)redis;
  te_bell *b = arg;
  listen_(b);
  b->events.on_ring(b->events.arg);
}

static void on_down(void *arg, te_redis *redis, int code, const char *why,
                    bool fatal) {
  // The other connection, to the same server, has the say in this.
  (void)arg, (void)redis, (void)code, (void)why, (void)fatal;
}

te_bell *te_bell_new(uv_loop_t *loop, const te_redis_options *options,
                     te_slice key, const te_bell_events *events) {
  te_bell *b = te_alloc_zero(1, sizeof(*b));
  b->events = *events;
  b->key = te_slice_dup(key);
  te_redis_options o = *options;
  o.on_up = on_up;
  o.on_down = on_down;
  o.arg = b;
  b->redis = te_redis_new(loop, &o);
  te_redis_start(b->redis);
  return b;
}

static void on_close(void *arg) {
  te_bell *b = arg;
  te_free(b->key);
  te_free(b);
}

void te_bell_close(te_bell *b) {
  if (b == NULL || b->is_closed) return;
  b->is_closed = true;
  te_redis_close(b->redis, on_close, b);
}
