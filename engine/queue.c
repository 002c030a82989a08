#include "queue.h"

#include <stdio.h>

#include "bell.h"
#include "clock.h"
#include "fcall.h"
#include "handed.h"
#include "lease.h"
#include "ledger.h"
#include "request.h"
#include "round.h"
#include "spin.h"

#define FETCH_MAX  1000
// To hand out so many takes about as long as Redis takes for the next ones.
#define EARLY_FROM 100

// An item of the bell that is a task: this, its delivery number, its envelope.
#define HANDED_MARK       '!'
#define HANDED_HEAD_BYTES 5
// One that is a request: this, and what request.h reads.
#define REQUEST_MARK      '~'

struct te_queue {
  te_queue_events events;
  te_redis_options redis_options;
  te_redis *redis;
  te_bell *bell;
  te_lease lease;
  char *prefix;
  char inbox[TE_ID_PRODUCER_BYTES + 3];
  size_t first_queue;  // rotates, so that no queue is always the last
  bool is_awake;       // there may be work
  bool sleeps;         // Redis has it among the sleepers
  bool stops;          // fetches nothing more
  bool is_refused;     // Redis answered with an error: wait for on_work
  bool is_in_doubt;    // what was told to have ended was not in flight here
  int under_way;       // replies of this round
  size_t wanted;       // by the fetch under way
  size_t found;        // by the last one
  size_t coming;       // tasks of the last fetch, until they are handed out
  size_t successors;   // that the finish under way may bring
  te_handed handed;
  te_requests requests;
  te_ledger tasks;
  te_spin spin;
  uv_timer_t later;  // there is more to tell
  uv_prepare_t turn;
  int open_handles;
  void (*on_left)(void *arg, bool has_left);
  void *left_arg;
};

/* Rounds. */

// After each reply: was it the last?
static void end_round(te_queue *q) {
  if (q->under_way > 0) return;
  te_spin_end(&q->spin);
  if (q->is_in_doubt) te_queue_compare(q);
  te_queue_wake(q);
}

// A reply to a call of this round; on_down or on_lost has seen to any other.
static bool is_of_round(te_queue *q, int status, const te_reply *reply,
                        int *rc) {
  if (q->lease.state != TE_LEASE_HELD) return false;
  *rc = te_lease_check(&q->lease, status, reply);
  if (*rc == TE_EREPLY) q->is_refused = true;
  return q->lease.state == TE_LEASE_HELD;
}

static void take_envelope(te_queue *q, te_slice bytes, uint32_t delivery) {
  te_task *t = te_task_new(bytes, delivery);
  te_spin_end(&q->spin);  // there is something to do
  if (t != NULL) {
    te_lease_set_expiry(&q->lease, t);
    te_ledger_hold(&q->tasks, t);
    te_slice field = te_slice_of(t->field, TE_FIELD_BYTES);
    if (te_requests_take(&q->requests, field)) te_task_revoke(t, false);
    q->events.on_task(q->events.arg, t);
    return;
  }
  t = te_task_malformed(bytes, delivery);
  // Out of the bell: te1_fetch lets none of those pass.
  if (t == NULL) return te_queue_compare(q);
  te_ledger_hold(&q->tasks, t);
  te_queue_end(q, t);
}

static void start_round(te_queue *q);

// The next round goes out first, so that Redis works meanwhile.
static void hand_out(te_queue *q, te_reply **envelopes, size_t count) {
  uint32_t delivery = q->lease.delivery;
  if (count >= EARLY_FROM && q->under_way == 0 && !q->is_in_doubt) {
    q->coming = count;
    start_round(q);
    q->coming = 0;
    te_redis_flush(q->redis);
  }
  for (size_t i = 0; i < count; i++)
    take_envelope(q, envelopes[i]->text, delivery);
  te_requests_clear(&q->requests);
}

static void on_work(void *arg) {
  te_queue *q = arg;
  q->is_awake = true;
  q->is_refused = false;
  te_queue_wake(q);
}

static void take_successors(te_queue *q, const te_reply *reply) {
  if (q->successors == 0 || reply->count < 2) return;
  hand_out(q, reply->item + 1, reply->count - 1);
  if (q->events.room(q->events.arg) == 0) on_work(q);  // sleeps no more
}

static void on_finished(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  int rc;
  if (!is_of_round(q, status, reply, &rc)) return;
  q->under_way--;
  if (rc == 0) {
    // What came out of the bell may have been damaged there: what is in flight
    // is another task, that nobody runs.
    int64_t found = reply->count > 0 ? reply->item[0]->integer : 0;
    int64_t told = (int64_t)te_ledger_forget_told(&q->tasks);
    if (found < told) q->is_in_doubt = true;
    take_successors(q, reply);
  } else {
    te_ledger_tell_again(&q->tasks);
  }
  end_round(q);
}

// Where the children have nothing to do before the answer is there.
static void stay_awake(te_queue *q) {
  bool is_idle = q->tasks.held.count == q->tasks.unsettled && q->coming == 0;
  if (is_idle) te_spin_begin(&q->spin);
}

static void send_finish(te_queue *q, size_t room) {
  q->successors = te_round_finish(&q->lease, &q->tasks, te_clock_ms(), room);
  te_redis_end(q->redis, 0, on_finished, q);
  q->under_way++;
  if (q->successors > 0) stay_awake(q);
}

static void on_fetched(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  int rc;
  if (!is_of_round(q, status, reply, &rc)) return;
  q->under_way--;
  if (rc == 0 && reply->type == TE_REPLY_ARRAY && reply->count >= 2) {
    size_t got = q->found = reply->count - 2;
    q->sleeps = got < q->wanted;
    bool asks = !q->stops && q->events.room(q->events.arg) > got;
    bool is_due = te_lease_note_due(&q->lease, reply->item[0]->integer,
                                    reply->item[1]->integer, asks);
    if (is_due || !q->sleeps) q->is_awake = true;
    hand_out(q, reply->item + 2, got);
  }
  end_round(q);
}

// Nothing may be handed over to one whose bell is not heard.
static unsigned fetch_flags(const te_queue *q) {
  return (q->sleeps ? TE_FETCH_MAY_SLEEP : 0u) |
         (te_bell_is_heard(q->bell) ? TE_FETCH_TAKES_HAND_OVERS : 0u);
}

static void send_fetch(te_queue *q, size_t room) {
  q->wanted = room < FETCH_MAX ? room : FETCH_MAX;
  q->is_awake = false;  // a bell that rings meanwhile counts
  te_round_fetch(&q->lease, q->wanted, fetch_flags(q), q->first_queue);
  te_redis_end(q->redis, 0, on_fetched, q);
  q->first_queue = (q->first_queue + 1) % q->lease.queue_count;
  q->under_way++;
  if (q->found > 0) stay_awake(q);
}

static void start_round(te_queue *q) {
  if (q->lease.state != TE_LEASE_HELD || q->under_way > 0) return;
  if (q->is_refused) return;
  size_t room = q->stops ? 0 : q->events.room(q->events.arg);
  room = room > q->coming ? room - q->coming : 0;
  // A fetch that follows brings what is released, too.
  uint64_t wait_ms;
  if (te_ledger_wait(&q->tasks, te_clock_ms(), &wait_ms) && wait_ms == 0)
    send_finish(q, q->is_awake ? 0 : room);
  if (q->stops ? !q->sleeps : !q->is_awake) return;
  // One that sleeps and has no room asks for nothing, and is a sleeper no
  // more: so the bell, which rang for it, rings for another.
  if (room > 0 || q->sleeps) send_fetch(q, room);
}

static void on_later(uv_timer_t *timer) {
  te_queue_wake(timer->data);
}

// What is not to be told yet has a round of its own then.
static void watch_ledger(te_queue *q) {
  uint64_t wait_ms;
  if (!te_ledger_wait(&q->tasks, te_clock_ms(), &wait_ms) || wait_ms == 0)
    return;
  uv_update_time(q->turn.loop);
  uv_timer_start(&q->later, on_later, wait_ms, 0);
}

static void on_turn(uv_prepare_t *turn) {
  te_queue *q = turn->data;
  uv_prepare_stop(turn);
  start_round(q);
  watch_ledger(q);
  if (te_queue_is_settled(q)) q->events.on_settled(q->events.arg);
}

void te_queue_wake(te_queue *q) {
  if (!uv_is_closing((uv_handle_t *)&q->turn))
    uv_prepare_start(&q->turn, on_turn);
}

void te_queue_end(te_queue *q, te_task *t) {
  te_ledger_end(&q->tasks, t);
  te_queue_wake(q);
}

void te_queue_say(te_queue *q, te_task *t, te_slice word) {
  te_news_say(&q->tasks.news, t, word);
  te_queue_wake(q);
}

/* The lease's and the bell's events. */

static bool has_room(void *arg) {
  te_queue *q = arg;
  return !q->stops && q->events.room(q->events.arg) > 0;
}

// One that sleeps is rung for tasks, too, and fetches. Any other is rung for
// what flows have left to do, which takes no room.
static void on_ring(void *arg) {
  te_queue *q = arg;
  on_work(q);
  if (!q->sleeps && !has_room(q)) te_lease_promote(&q->lease);
}

static void take_handed(te_queue *q, te_slice item) {
  if (item.size < HANDED_HEAD_BYTES) return;
  uint32_t number = te_read_u32(item.data + 1);
  te_handed_verdict verdict = te_handed_came(&q->handed, number);
  item.data += HANDED_HEAD_BYTES;
  item.size -= HANDED_HEAD_BYTES;
  if (verdict != TE_HANDED_OLD) take_envelope(q, item, number);
  if (verdict != TE_HANDED_NEXT) te_queue_compare(q);
  if (q->events.room(q->events.arg) == 0) on_work(q);  // sleeps no more
}

static void on_request(void *arg, te_slice bytes) {
  te_queue *q = arg;
  te_request request;
  if (te_request_read(bytes, &request) < 0) return;
  te_task *t = te_ledger_find(&q->tasks, request.field);
  if (t == NULL) {
    te_requests_keep(&q->requests, request.field);
  } else if (t->end == TE_END_NONE) {
    q->events.on_revoke(q->events.arg, t, request.is_order);
  }
}

static void on_item(void *arg, te_slice item) {
  te_queue *q = arg;
  switch (item.data[0]) {
    case HANDED_MARK: take_handed(q, item); break;
    case REQUEST_MARK:
      on_request(q, te_slice_of(item.data + 1, item.size - 1));
      break;
    default: q->events.on_item(q->events.arg, item);
  }
}

static void on_gap(void *arg) {
  te_queue *q = arg;
  q->events.on_gap(q->events.arg);
  te_queue_compare(q);
}

static void on_handed(void *arg, uint32_t number) {
  te_queue *q = arg;
  if (!te_handed_heard(&q->handed, number)) te_queue_compare(q);
}

static void ask(te_queue *q) {
  te_handed_ask(&q->handed);
  te_lease_ask(&q->lease);
}

// The round under way is not waited for.
void te_queue_compare(te_queue *q) {
  if (q->lease.state != TE_LEASE_HELD) return;
  te_lease_pause(&q->lease);
  te_ledger_tell_again(&q->tasks);
  q->under_way = 0;
  ask(q);
}

static void open_bell(te_queue *q) {
  te_bell_events events = {on_ring, on_gap, on_item, q};
  te_buf key;
  te_buf_init(&key);
  te_buf_addf(&key, "%s%s", q->prefix, q->inbox);
  q->bell =
      te_bell_new(q->turn.loop, &q->redis_options, te_buf_slice(&key), &events);
  te_buf_free(&key);
}

// Hands back what Redis gave and never arrived here.
static void hand_back_unknown(te_queue *q, const te_reply *held) {
  if (held->count > 0) te_handed_answered(&q->handed, held->item[0]->text);
  for (size_t i = 1; i < held->count; i++) {
    te_slice field = held->item[i]->text;
    if (field.size != TE_FIELD_BYTES || te_ledger_holds(&q->tasks, field))
      continue;
    te_task *t = te_task_of_field(field);
    te_ledger_hold(&q->tasks, t);
    te_queue_end(q, t);
  }
}

static void on_held(void *arg, bool is_new, const te_reply *held) {
  te_queue *q = arg;
  q->under_way = 0;
  te_spin_drop(&q->spin);
  q->is_in_doubt = false;
  q->sleeps = !is_new;  // perhaps: the next fetch says what is so
  if (is_new) {
    te_handed_init(&q->handed);
    open_bell(q);
    q->events.on_lease(q->events.arg);
  } else {
    hand_back_unknown(q, held);
  }
  on_work(q);
}

static void on_lost(void *arg) {
  te_queue *q = arg;
  q->under_way = 0;
  q->is_refused = false;
  te_bell_close(q->bell);
  q->bell = NULL;
  size_t refused;
  te_queue_untold(q, &refused);
  te_ledger_drop(&q->tasks);
  te_requests_clear(&q->requests);
  q->events.on_fenced(q->events.arg, refused);
}

static void on_refused(void *arg, const char *why) {
  te_queue *q = arg;
  q->events.on_refused(q->events.arg, why);
}

/* The connection's. */

static void on_up(void *arg, te_redis *redis) {
  (void)redis;
  te_queue *q = arg;
  q->events.on_link(q->events.arg, true, 0, "", false);
  ask(q);
}

static void on_down(void *arg, te_redis *redis, int code, const char *why,
                    bool fatal) {
  (void)redis;
  te_queue *q = arg;
  te_lease_pause(&q->lease);
  te_ledger_tell_again(&q->tasks);
  q->under_way = 0;
  q->events.on_link(q->events.arg, false, code, why, fatal);
}

/* Life. */

te_queue *te_queue_new(uv_loop_t *loop, const te_queue_options *options,
                       const te_queue_events *events) {
  te_queue *q = te_alloc_zero(1, sizeof(*q));
  te_lease_events lease_events = {.on_held = on_held,
                                  .on_refused = on_refused,
                                  .on_work = on_work,
                                  .on_handed = on_handed,
                                  .on_request = on_request,
                                  .on_lost = on_lost,
                                  .has_room = has_room,
                                  .arg = q};
  q->events = *events;
  q->prefix = te_strdup(options->prefix);
  te_ledger_init(&q->tasks, options->claims);
  te_requests_init(&q->requests);
  uv_prepare_init(loop, &q->turn);
  uv_timer_init(loop, &q->later);
  te_spin_init(&q->spin, loop, uv_available_parallelism());
  q->turn.data = q->later.data = q->spin.idle.data = q;
  q->open_handles = 5;  // turn, later, spin, lease, connection
  q->redis_options = *options->redis;
  q->redis_options.on_up = on_up;
  q->redis_options.on_down = on_down;
  q->redis_options.arg = q;
  q->redis_options.pause_ms_max = options->lease_ms / 3;
  q->redis = te_redis_new(loop, &q->redis_options);
  te_lease_init(&q->lease, loop, q->redis, q->prefix, options->lease_ms,
                &lease_events);
  te_redis_start(q->redis);
  return q;
}

void te_queue_start(te_queue *q, const char wid[TE_ID_PRODUCER_BYTES],
                    te_slice description, const te_slice *queues,
                    size_t queue_count) {
  te_lease_set_name(&q->lease, wid, description, queues, queue_count);
  snprintf(q->inbox, sizeof(q->inbox), "b:%s", q->lease.wid);
  q->first_queue = 0;
  if (te_redis_is_up(q->redis)) te_lease_ask(&q->lease);
}

void te_queue_describe(te_queue *q, te_slice description,
                       const te_slice *queues, size_t queue_count) {
  q->first_queue = 0;
  te_lease_describe(&q->lease, description, queues, queue_count);
}

void te_queue_stop_fetching(te_queue *q) {
  q->stops = true;
  te_queue_wake(q);
}

size_t te_queue_untold(const te_queue *q, size_t *outcomes) {
  return te_ledger_untold(&q->tasks, outcomes);
}

bool te_queue_is_settled(const te_queue *q) {
  return q->lease.state == TE_LEASE_HELD && q->under_way == 0 &&
         q->tasks.unsettled == 0;
}

te_redis *te_queue_redis(te_queue *q) {
  return q->redis;
}

const char *te_queue_prefix(const te_queue *q) {
  return q->prefix;
}

te_slice te_queue_inbox(const te_queue *q) {
  return te_slice_str(q->inbox);
}

static void on_left(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  // Whoever has closed it may be gone by now.
  if (uv_is_closing((uv_handle_t *)&q->turn)) return;
  q->on_left(q->left_arg, status == 0 && reply->type == TE_REPLY_INTEGER &&
                              reply->integer == 1);
}

void te_queue_leave(te_queue *q, void (*cb)(void *arg, bool has_left),
                    void *arg) {
  q->on_left = cb;
  q->left_arg = arg;
  te_fcall_begin(q->redis, q->prefix, "te1_leave", 1);
  te_fcall_add_str(q->redis, q->lease.wid);
  te_redis_end(q->redis, 0, on_left, q);
}

static void on_part_closed(void *arg) {
  te_queue *q = arg;
  if (--q->open_handles > 0) return;
  te_requests_clear(&q->requests);
  te_free(q->prefix);
  te_free(q);
}

static void on_handle_close(uv_handle_t *handle) {
  on_part_closed(handle->data);
}

void te_queue_close(te_queue *q) {
  if (uv_is_closing((uv_handle_t *)&q->turn)) return;
  te_ledger_leave_to_heir(&q->tasks);
  te_bell_close(q->bell);
  q->bell = NULL;
  uv_close((uv_handle_t *)&q->turn, on_handle_close);
  uv_close((uv_handle_t *)&q->later, on_handle_close);
  uv_close((uv_handle_t *)&q->spin.idle, on_handle_close);
  te_lease_close(&q->lease, on_part_closed, q);
  te_redis_close(q->redis, on_part_closed, q);
}
