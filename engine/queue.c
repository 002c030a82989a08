#include "queue.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bell.h"
#include "clock.h"
#include "log.h"
#include "map.h"
#include "record.h"
#include "report.h"

#define FETCH_MAX  1000
#define RETRY_MS   200  // after Redis refused a call
#define JITTER_MS  25   // so that not all workers reap or promote at once
#define DUE_MS_MAX ((uint64_t)3600 * 1000)

enum timer { HEARTBEAT, DUE, FOREIGN, RETRY, TIMERS };

typedef enum phase {
  DOWN,         // no connection, or no start yet
  REGISTERING,  // asks for the lease, or whether it still holds
  WORKING,
  FENCED,  // waits for te_queue_start
} phase;

struct te_queue {
  uv_loop_t *loop;
  te_queue_events events;
  te_redis_options redis_options;
  te_redis *redis;
  te_bell *bell;
  char *prefix;
  char wid[TE_ID_PRODUCER_BYTES + 1];
  char *inbox;
  te_buf description;
  char **queues;
  size_t queue_count;
  size_t first_queue;  // rotates, so that no queue is always the last
  uint64_t lease_ms;
  phase phase;
  bool was_registered;  // with this wid
  bool is_awake;        // there may be work
  bool sleeps;          // Redis has it among the sleepers
  bool stops;           // fetches nothing more
  int under_way;        // replies of this round
  size_t wanted;        // by the fetch under way
  uint32_t delivery;    // number of the last fetch
  te_map held;          // every task of this worker, by field
  te_list ended;        // to be told
  te_list told;         // in the round under way
  size_t unsettled;     // in these two
  char foreign[TE_ID_PRODUCER_BYTES + 1];
  uv_timer_t timers[TIMERS];
  uv_prepare_t turn;
  int open_handles;
};

/* Calls. */

static void add_str(te_queue *q, const char *text) {
  te_redis_add(q->redis, te_slice_str(text));
}

static void add_number(te_queue *q, uint64_t v) {
  char text[24];
  snprintf(text, sizeof(text), "%" PRIu64, v);
  add_str(q, text);
}

// FCALL of a function with `argc` arguments, which are to be added.
static void begin_call(te_queue *q, const char *function, size_t argc) {
  te_redis_begin(q->redis, 4 + argc);
  add_str(q, "FCALL");
  add_str(q, function);
  add_str(q, "1");
  add_str(q, q->prefix);
}

static void add_queues(te_queue *q) {
  for (size_t i = 0; i < q->queue_count; i++)
    add_str(q, q->queues[(q->first_queue + i) % q->queue_count]);
}

static bool is_fenced_reply(const te_reply *reply) {
  return reply->type == TE_REPLY_ARRAY && reply->count == 1 &&
         reply->item[0]->type == TE_REPLY_STRING &&
         te_slice_equal(reply->item[0]->text, te_slice_str("FENCED"));
}

static void set_timer(te_queue *q, enum timer which, uint64_t ms,
                      uv_timer_cb cb) {
  uv_update_time(q->loop);
  uv_timer_start(&q->timers[which], cb, ms, 0);
}

static uint64_t jitter(const te_queue *q) {
  return ((uint64_t)(unsigned char)q->wid[1] * 7 + te_clock_us()) % JITTER_MS;
}

static void wake_now(te_queue *q) {
  q->is_awake = true;
  te_queue_wake(q);
}

static void lose_lease(te_queue *q) {
  if (q->phase == FENCED) return;
  q->phase = FENCED;
  q->was_registered = false;
  q->under_way = 0;
  for (int i = 0; i < TIMERS; i++)
    uv_timer_stop(&q->timers[i]);
  te_bell_close(q->bell);
  q->bell = NULL;
  te_list *lists[] = {&q->ended, &q->told};
  for (int i = 0; i < 2; i++)
    te_list_each (link, lists[i]) {
      te_list_remove(link);
      te_task_free(te_container_of(link, te_task, link));
    }
  q->unsettled = 0;
  te_map_free(&q->held);
  q->events.on_fenced(q->events.arg);
}

static void on_retry(uv_timer_t *timer);

/*
 * 0 when the reply is one to work with. An error of Redis (it loads, is
 * read-only, is out of memory) is waited out; a lost connection is on_down's.
 */
static int check_reply(te_queue *q, int status, const te_reply *reply) {
  if (status < 0) return status;
  if (reply->type == TE_REPLY_ERROR) {
    te_log(TE_LOG_WARN, "Redis refuses: %.*s", (int)reply->text.size,
           reply->text.data);
    set_timer(q, RETRY, RETRY_MS, on_retry);
    return TE_EREPLY;
  }
  if (is_fenced_reply(reply)) {
    lose_lease(q);
    return TE_EFENCED;
  }
  return 0;
}

/* Times that Redis told: due tasks, other workers' leases. */

static void on_due(uv_timer_t *timer) {
  te_queue *q = timer->data;
  wake_now(q);
  if (q->phase != WORKING || q->events.room(q->events.arg) > 0) return;
  begin_call(q, "te1_promote", 1);  // for the others, who have room
  add_str(q, "100");
  te_redis_end(q->redis, 0, NULL, NULL);
}

static void note_due(te_queue *q, int64_t now, int64_t due) {
  if (due <= 0) {
    uv_timer_stop(&q->timers[DUE]);
    return;
  }
  uint64_t in_ms = due > now ? (uint64_t)(due - now) : 0;
  if (in_ms > DUE_MS_MAX) in_ms = DUE_MS_MAX;
  set_timer(q, DUE, in_ms + 1, on_due);
}

static void send_heartbeat(te_queue *q);

static void on_reaped(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  if (status < 0) return;
  if (reply->type == TE_REPLY_INTEGER && reply->integer > 0)
    te_log(TE_LOG_WARN, "took %lld tasks back from a lost worker",
           (long long)reply->integer);
  if (q->phase == WORKING) send_heartbeat(q);  // there may be another one
}

static void reap(te_queue *q, const char *wid, bool is_dead,
                 const te_slice *begun, size_t count) {
  begin_call(q, "te1_reap", 3 + count);
  te_redis_add(q->redis, te_slice_of(wid, TE_ID_PRODUCER_BYTES));
  add_str(q, is_dead ? "1" : "0");
  te_buf outcome;
  te_buf_init(&outcome);
  te_record_failure(&outcome, "WorkerLost",
                    "worker after worker was lost while it held the task");
  te_redis_add(q->redis, te_buf_slice(&outcome));
  te_buf_free(&outcome);
  for (size_t i = 0; i < count; i++)
    te_redis_add(q->redis, begun[i]);
  te_redis_end(q->redis, 0, on_reaped, q);
}

static void on_foreign(uv_timer_t *timer) {
  te_queue *q = timer->data;
  te_slice all = te_slice_str("-");
  if (q->phase == WORKING) reap(q, q->foreign, false, &all, 1);
}

static void note_foreign(te_queue *q, int64_t now, int64_t deadline,
                         te_slice wid) {
  if (deadline <= 0 || wid.size != TE_ID_PRODUCER_BYTES) {
    uv_timer_stop(&q->timers[FOREIGN]);
    return;
  }
  memcpy(q->foreign, wid.data, wid.size);
  uint64_t in_ms = deadline > now ? (uint64_t)(deadline - now) : 0;
  set_timer(q, FOREIGN, in_ms + 1 + jitter(q), on_foreign);
}

/* The lease. */

static void on_heartbeat(uv_timer_t *timer) {
  send_heartbeat(timer->data);
}

// now, due, whether there is work, another's lease end, whose
static int note_report(te_queue *q, const te_reply *r) {
  if (r->type != TE_REPLY_ARRAY || r->count != 5) return TE_EPROTO;
  int64_t now = r->item[0]->integer;
  note_due(q, now, r->item[1]->integer);
  note_foreign(q, now, r->item[3]->integer, r->item[4]->text);
  set_timer(q, HEARTBEAT, q->lease_ms / 3, on_heartbeat);
  if (r->item[2]->integer != 0) wake_now(q);
  return 0;
}

static void on_heartbeat_reply(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  if (check_reply(q, status, reply) == 0 && q->phase == WORKING)
    note_report(q, reply);
}

static void send_heartbeat_for(te_queue *q, te_redis_reply_cb cb) {
  begin_call(q, "te1_heartbeat", 2 + q->queue_count);
  add_str(q, q->wid);
  add_number(q, q->lease_ms);
  add_queues(q);
  te_redis_end(q->redis, 0, cb, q);
  // Should the reply never come, the next one is sent all the same.
  set_timer(q, HEARTBEAT, q->lease_ms / 3, on_heartbeat);
}

static void send_heartbeat(te_queue *q) {
  if (q->phase == WORKING) send_heartbeat_for(q, on_heartbeat_reply);
}

static void on_ring(void *arg) {
  wake_now(arg);
}

static void on_item(void *arg, te_slice item) {
  te_queue *q = arg;
  q->events.on_item(q->events.arg, item);
}

static void open_bell(te_queue *q) {
  char key[256];
  int n = snprintf(key, sizeof(key), "%s%s", q->prefix, q->inbox);
  te_bell_events events = {on_ring, on_item, q};
  q->bell = te_bell_new(q->loop, &q->redis_options, te_slice_of(key, (size_t)n),
                        &events);
}

static void start_working(te_queue *q) {
  bool is_new = !q->was_registered;
  q->phase = WORKING;
  q->was_registered = true;
  q->under_way = 0;
  q->sleeps = false;
  if (is_new) {
    open_bell(q);
    q->events.on_lease(q->events.arg);
  }
  wake_now(q);
}

static void on_registered(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  if (check_reply(q, status, reply) < 0 || q->phase != REGISTERING) return;
  note_report(q, reply);
  start_working(q);
}

// Hands back what was fetched and never arrived here.
static void on_holds(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  if (check_reply(q, status, reply) < 0 || q->phase != REGISTERING) return;
  for (size_t i = 0; i < reply->count; i++) {
    te_slice field = reply->item[i]->text;
    if (field.size != TE_FIELD_BYTES || te_map_find(&q->held, field) != NULL)
      continue;
    te_task *t = te_task_of_field(field);
    te_map_set(&q->held, te_slice_of(t->field, TE_FIELD_BYTES), t);
    te_list_add_last(&q->ended, &t->link);
    q->unsettled++;
  }
  start_working(q);
}

static void on_renewed(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  if (check_reply(q, status, reply) < 0 || q->phase != REGISTERING) return;
  note_report(q, reply);
  begin_call(q, "te1_holds", 1);
  add_str(q, q->wid);
  te_redis_end(q->redis, 0, on_holds, q);
}

static void ask_for_lease(te_queue *q) {
  q->phase = REGISTERING;
  if (q->was_registered) {
    send_heartbeat_for(q, on_renewed);
    return;
  }
  begin_call(q, "te1_register", 3 + q->queue_count);
  add_str(q, q->wid);
  add_number(q, q->lease_ms);
  te_redis_add(q->redis, te_buf_slice(&q->description));
  add_queues(q);
  te_redis_end(q->redis, 0, on_registered, q);
}

static void on_retry(uv_timer_t *timer) {
  te_queue *q = timer->data;
  if (q->phase == REGISTERING) ask_for_lease(q);
  wake_now(q);
}

/* Rounds. */

static void forget_task(te_queue *q, te_task *t) {
  te_list_remove(&t->link);
  te_map_take(&q->held, te_slice_of(t->field, TE_FIELD_BYTES));
  q->unsettled--;
  te_task_free(t);
}

// Nobody knows whether it was carried out: it is told again, one by one.
static void tell_again(te_queue *q) {
  te_list *link;
  while ((link = te_list_last(&q->told)) != NULL) {
    te_list_remove(link);
    te_list_add_first(&q->ended, link);
  }
}

static void end_of_call(te_queue *q) {
  if (--q->under_way > 0) return;
  if (q->unsettled == 0) q->events.on_settled(q->events.arg);
  te_queue_wake(q);
}

static void on_finished(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  if (q->phase != WORKING) return;  // on_down or lose_lease saw to it
  int rc = check_reply(q, status, reply);
  if (q->phase != WORKING) return;
  if (rc == 0) {
    te_list_each (link, &q->told)
      forget_task(q, te_container_of(link, te_task, link));
  } else {
    tell_again(q);
  }
  end_of_call(q);
}

static void add_report_arg(void *arg, te_slice s) {
  te_queue *q = arg;
  te_redis_add(q->redis, s);
}

static void send_finish(te_queue *q) {
  size_t argc = te_report_take(&q->ended, &q->told);
  begin_call(q, "te1_finish", 2 + argc);
  add_str(q, q->wid);
  add_number(q, q->lease_ms);
  te_report_write(&q->told, add_report_arg, q);
  te_redis_end(q->redis, 0, on_finished, q);
  q->under_way++;
}

static void take_envelope(te_queue *q, te_slice bytes) {
  te_task *t = te_task_new(bytes, q->delivery);
  if (t == NULL) return;  // te1_fetch lets no malformed one pass
  te_map_set(&q->held, te_slice_of(t->field, TE_FIELD_BYTES), t);
  q->events.on_task(q->events.arg, t);
}

static void on_fetched(void *arg, int status, const te_reply *reply) {
  te_queue *q = arg;
  if (q->phase != WORKING) return;
  int rc = check_reply(q, status, reply);
  if (q->phase != WORKING) return;
  if (rc == 0 && reply->type == TE_REPLY_ARRAY && reply->count >= 2) {
    size_t got = reply->count - 2;
    q->is_awake = got == q->wanted;
    q->sleeps = !q->is_awake;
    note_due(q, reply->item[0]->integer, reply->item[1]->integer);
    for (size_t i = 0; i < got; i++)
      take_envelope(q, reply->item[2 + i]->text);
  }
  end_of_call(q);
}

static void send_fetch(te_queue *q, size_t room) {
  q->wanted = room < FETCH_MAX ? room : FETCH_MAX;
  q->is_awake = false;
  begin_call(q, "te1_fetch", 5 + q->queue_count);
  add_str(q, q->wid);
  add_number(q, q->lease_ms);
  add_number(q, q->wanted);
  add_number(q, ++q->delivery);
  add_str(q, q->sleeps ? "1" : "0");
  add_queues(q);
  te_redis_end(q->redis, 0, on_fetched, q);
  q->first_queue = (q->first_queue + 1) % q->queue_count;
  q->under_way++;
}

static void start_round(te_queue *q) {
  if (q->phase != WORKING || q->under_way > 0) return;
  if (!te_list_is_empty(&q->ended)) send_finish(q);
  if (!q->is_awake || q->stops) return;
  size_t room = q->events.room(q->events.arg);
  if (room > 0) send_fetch(q, room);
}

static void on_turn(uv_prepare_t *turn) {
  uv_prepare_stop(turn);
  start_round(turn->data);
}

void te_queue_wake(te_queue *q) {
  if (!uv_is_closing((uv_handle_t *)&q->turn))
    uv_prepare_start(&q->turn, on_turn);
}

void te_queue_end(te_queue *q, te_task *t) {
  te_list_add_last(&q->ended, &t->link);
  q->unsettled++;
  te_queue_wake(q);
}

/* The connection. */

static void on_up(void *arg, te_redis *redis) {
  (void)redis;
  te_queue *q = arg;
  q->events.on_link(q->events.arg, true, 0, "", false);
  if (q->queue_count > 0 && q->phase == DOWN) ask_for_lease(q);
}

static void on_down(void *arg, te_redis *redis, int code, const char *why,
                    bool fatal) {
  (void)redis;
  te_queue *q = arg;
  if (q->phase != FENCED) q->phase = DOWN;
  tell_again(q);
  q->under_way = 0;
  q->events.on_link(q->events.arg, false, code, why, fatal);
}

/* Life. */

te_queue *te_queue_new(uv_loop_t *loop, const te_queue_options *options,
                       const te_queue_events *events) {
  te_queue *q = te_alloc_zero(1, sizeof(*q));
  q->loop = loop;
  q->events = *events;
  q->prefix = te_strdup(options->prefix);
  q->lease_ms = options->lease_ms;
  te_map_init(&q->held);
  te_list_init(&q->ended);
  te_list_init(&q->told);
  for (int i = 0; i < TIMERS; i++) {
    uv_timer_init(loop, &q->timers[i]);
    q->timers[i].data = q;
  }
  uv_prepare_init(loop, &q->turn);
  q->turn.data = q;
  q->open_handles = TIMERS + 2;  // the connection too
  q->redis_options = *options->redis;
  q->redis_options.on_up = on_up;
  q->redis_options.on_down = on_down;
  q->redis_options.arg = q;
  q->redis = te_redis_new(loop, &q->redis_options);
  te_redis_start(q->redis);
  return q;
}

static void forget_names(te_queue *q) {
  te_free(q->inbox);
  te_buf_free(&q->description);
  for (size_t i = 0; i < q->queue_count; i++)
    te_free(q->queues[i]);
  te_free(q->queues);
  q->queue_count = 0;
}

void te_queue_start(te_queue *q, const char wid[TE_ID_PRODUCER_BYTES],
                    te_slice description, const te_slice *queues,
                    size_t queue_count) {
  assert(queue_count > 0 && q->phase != WORKING);
  forget_names(q);
  memcpy(q->wid, wid, TE_ID_PRODUCER_BYTES);
  q->inbox = te_alloc(sizeof(q->wid) + 2);
  snprintf(q->inbox, sizeof(q->wid) + 2, "b:%s", q->wid);
  te_buf_add_slice(&q->description, description);
  q->queues = te_alloc_zero(queue_count, sizeof(*q->queues));
  for (size_t i = 0; i < queue_count; i++)
    q->queues[i] = te_slice_dup(queues[i]);
  q->queue_count = queue_count;
  q->first_queue = 0;
  q->phase = DOWN;
  if (te_redis_is_up(q->redis)) ask_for_lease(q);
}

void te_queue_stop_fetching(te_queue *q) {
  q->stops = true;
}

size_t te_queue_unsettled(const te_queue *q) {
  return q->unsettled;
}

void te_queue_reap(te_queue *q, const char wid[TE_ID_PRODUCER_BYTES],
                   const te_slice *begun, size_t begun_count) {
  reap(q, wid, true, begun, begun_count);
}

te_redis *te_queue_redis(te_queue *q) {
  return q->redis;
}

te_slice te_queue_prefix(const te_queue *q) {
  return te_slice_str(q->prefix);
}

te_slice te_queue_inbox(const te_queue *q) {
  return te_slice_str(q->inbox);
}

typedef struct leaving {
  void (*cb)(void *arg);
  void *arg;
} leaving;

static void on_left(void *arg, int status, const te_reply *reply) {
  (void)status, (void)reply;  // else the lease ends by itself
  leaving *l = arg;
  l->cb(l->arg);
  te_free(l);
}

void te_queue_leave(te_queue *q, void (*cb)(void *arg), void *arg) {
  leaving *l = te_alloc(sizeof(*l));
  l->cb = cb;
  l->arg = arg;
  begin_call(q, "te1_leave", 1);
  add_str(q, q->wid);
  te_redis_end(q->redis, 0, on_left, l);
}

static void free_when_closed(te_queue *q) {
  if (--q->open_handles > 0) return;
  te_list *lists[] = {&q->ended, &q->told};
  for (int i = 0; i < 2; i++)
    te_list_each (link, lists[i])
      te_task_free(te_container_of(link, te_task, link));
  te_map_free(&q->held);
  forget_names(q);
  te_free(q->prefix);
  te_free(q);
}

static void on_handle_close(uv_handle_t *handle) {
  free_when_closed(handle->data);
}

static void on_redis_close(void *arg) {
  free_when_closed(arg);
}

void te_queue_close(te_queue *q) {
  te_bell_close(q->bell);
  q->bell = NULL;
  for (int i = 0; i < TIMERS; i++)
    uv_close((uv_handle_t *)&q->timers[i], on_handle_close);
  uv_close((uv_handle_t *)&q->turn, on_handle_close);
  te_redis_close(q->redis, on_redis_close, q);
}
