#include "bell.h"

#include "greet.h"
#include "log.h"

#define BLOCK_MS       5000
#define BLOCK_S        "5"
#define GLANCE_S       "0.001"
#define ITEMS_MAX      "100"
// After Redis refused the call: doubled each time.
#define RETRY_MS_FIRST 200
#define RETRY_MS_MAX   10000

struct te_bell {
  te_redis *redis;
  uv_timer_t retry;
  te_bell_events events;
  char *key;
  uint64_t retry_ms;  // the next pause
  bool is_heard;      // Redis has let it wait, since the connection is up
  bool is_barred;     // it was said that Redis does not
  bool was_up;
  bool is_closed;
  int open_parts;  // connection and timer
};

static void ask(te_bell *b);

static void on_retry(uv_timer_t *timer) {
  te_bell *b = timer->data;
  if (te_redis_is_up(b->redis)) ask(b);
}

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

static void retry_later(te_bell *b) {
  uv_update_time(b->retry.loop);
  uv_timer_start(&b->retry, on_retry, b->retry_ms, 0);
  b->retry_ms *= 2;
  if (b->retry_ms > RETRY_MS_MAX) b->retry_ms = RETRY_MS_MAX;
}

// Of an error that passes the other connection tells.
static void note_refusal(te_bell *b, const te_reply *error) {
  if (b->is_barred || te_greet_is_passing(error)) return;
  b->is_barred = true;
  te_log(TE_LOG_WARN,
         "Redis does not let this worker wait for tasks, so they may start "
         "some seconds late: BLMPOP was answered with %.*s",
         (int)error->text.size, error->text.data);
}

// What was rung while nobody listened is lost: once it does, it rings.
static void note_success(te_bell *b) {
  if (b->is_barred)
    te_log(TE_LOG_INFO, "Redis lets this worker wait for tasks again");
  b->is_barred = false;
  b->retry_ms = RETRY_MS_FIRST;
  if (b->is_heard) return;
  b->is_heard = true;
  b->events.on_ring(b->events.arg);
}

static void on_reply(void *arg, int status, const te_reply *reply) {
  te_bell *b = arg;
  if (status < 0 || b->is_closed) return;  // on_up starts anew
  if (reply->type == TE_REPLY_ERROR) {
    b->is_heard = false;
    note_refusal(b, reply);
    retry_later(b);
    return;
  }
  note_success(b);
  if (reply->type == TE_REPLY_ARRAY && reply->count == 2 &&
      reply->item[1]->type == TE_REPLY_ARRAY)
    hand_out(b, reply->item[1]);
  if (!b->is_closed) ask(b);
}

// Redis refuses at once, but that it does not shows only when it answers: so
// the first call hardly waits.
static void ask(te_bell *b) {
  const te_slice argv[] = {
      te_slice_str("BLMPOP"),  te_slice_str(b->is_heard ? BLOCK_S : GLANCE_S),
      te_slice_str("1"),       te_slice_str(b->key),
      te_slice_str("LEFT"),    te_slice_str("COUNT"),
      te_slice_str(ITEMS_MAX),
  };
  te_redis_call_blocking(b->redis, argv, sizeof(argv) / sizeof(argv[0]),
                         BLOCK_MS, on_reply, b);
}

static void on_up(void *arg, te_redis *redis) {
  (void)redis;
  te_bell *b = arg;
  uv_timer_stop(&b->retry);
  ask(b);
  if (b->was_up) b->events.on_gap(b->events.arg);
  b->was_up = true;
}

static void on_down(void *arg, te_redis *redis, int code, const char *why,
                    bool fatal) {
  // The other connection, to the same server, has the say in this.
  (void)redis, (void)code, (void)why, (void)fatal;
  te_bell *b = arg;
  b->is_heard = false;
}

bool te_bell_is_heard(const te_bell *b) {
  return b != NULL && b->is_heard;
}

te_bell *te_bell_new(uv_loop_t *loop, const te_redis_options *options,
                     te_slice key, const te_bell_events *events) {
  te_bell *b = te_alloc_zero(1, sizeof(*b));
  b->events = *events;
  b->key = te_slice_dup(key);
  b->retry_ms = RETRY_MS_FIRST;
  te_redis_options o = *options;
  o.on_up = on_up;
  o.on_down = on_down;
  o.arg = b;
  b->redis = te_redis_new(loop, &o);
  uv_timer_init(loop, &b->retry);
  b->retry.data = b;
  b->open_parts = 2;
  te_redis_start(b->redis);
  return b;
}

static void on_close(void *arg) {
  te_bell *b = arg;
  if (--b->open_parts > 0) return;
  te_free(b->key);
  te_free(b);
}

static void on_timer_close(uv_handle_t *handle) {
  on_close(handle->data);
}

void te_bell_close(te_bell *b) {
  if (b == NULL || b->is_closed) return;
  b->is_closed = true;
  uv_close((uv_handle_t *)&b->retry, on_timer_close);
  te_redis_close(b->redis, on_close, b);
}
