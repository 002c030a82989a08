#include "lease.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "fcall.h"
#include "greet.h"
#include "log.h"

#define RETRY_MS    200   // after Redis refused a call
#define BARRED_MS   5000  // after it refused it in a way that does not pass
#define REFUSED_MS  5000  // so long without a refusal, the next one is news
#define JITTER_MS   25    // so that not all workers reap or promote at once
// For a time that Redis told: then it is asked, or told, again.
#define WAIT_MS_MAX ((uint64_t)3600 * 1000)
// What an envelope says may be any number.
#define FAR_MS      (UINT64_C(1) << 53)

#define WHY_BYTES_MAX 512

static void begin_call(te_lease *l, const char *function, size_t argc) {
  te_fcall_begin(l->redis, l->prefix, function, argc);
}

static void add_str(te_lease *l, const char *text) {
  te_fcall_add_str(l->redis, text);
}

static void add_queues(te_lease *l) {
  for (size_t i = 0; i < l->queue_count; i++)
    add_str(l, l->queues[i]);
}

static void set_timer(te_lease *l, enum te_lease_timer which, uint64_t ms,
                      uv_timer_cb cb) {
  uv_update_time(l->timers[which].loop);
  uv_timer_start(&l->timers[which], cb, ms, 0);
}

static void stop_timers(te_lease *l) {
  for (int i = 0; i < TE_LEASE_TIMERS; i++)
    uv_timer_stop(&l->timers[i]);
}

static uint64_t jitter(const te_lease *l) {
  return ((uint64_t)(unsigned char)l->wid[1] * 7 + te_clock_us()) % JITTER_MS;
}

static void on_retry(uv_timer_t *timer) {
  te_lease *l = timer->data;
  if (l->state == TE_LEASE_ASKING) te_lease_ask(l);
  if (l->state == TE_LEASE_HELD) l->events.on_work(l->events.arg);
}

// `wid` has the bytes of a name; another's may be any.
static void send_reap(te_lease *l, const char *wid, bool is_dead,
                      te_redis_reply_cb cb) {
  begin_call(l, "te1_reap", 4);
  te_redis_add(l->redis, te_slice_of(wid, TE_ID_PRODUCER_BYTES));
  add_str(l, is_dead ? "1" : "0");
  te_fcall_add_poisoned(l->redis);
  add_str(l, "-");  // whether they had begun is not known
  te_redis_end(l->redis, 0, cb, l);
}

static void lose(te_lease *l) {
  if (l->state == TE_LEASE_LOST) return;
  l->state = TE_LEASE_LOST;
  stop_timers(l);
  // Whoever took the lease has the tasks, too. If it went otherwise (keys were
  // deleted by hand), they are taken back here.
  send_reap(l, l->wid, true, NULL);
  l->events.on_lost(l->events.arg);
}

// Calls are repeated until they are not refused: one line says so for all.
static void note_refusal(te_lease *l, te_slice why) {
  uint64_t now = te_clock_ms();
  if (l->refused_ms == 0 || now - l->refused_ms > REFUSED_MS)
    te_log(TE_LOG_WARN, "Redis refuses: %.*s", (int)why.size, why.data);
  l->refused_ms = now;
}

int te_lease_check(te_lease *l, int status, const te_reply *reply) {
  if (status < 0) return status;
  if (reply->type == TE_REPLY_ERROR) {
    note_refusal(l, reply->text);
    set_timer(l, TE_LEASE_RETRY, RETRY_MS, on_retry);
    return TE_EREPLY;
  }
  if (te_fcall_is_fenced(reply)) {
    lose(l);
    return TE_EFENCED;
  }
  return 0;
}

/* Times that Redis told: due tasks, other workers' leases. */

static void on_promoted(void *arg, int status, const te_reply *reply) {
  te_lease *l = arg;
  if (l->state != TE_LEASE_HELD || te_lease_check(l, status, reply) < 0) return;
  if (reply->type != TE_REPLY_ARRAY || reply->count != 2) return;
  te_lease_note_due(l, reply->item[0]->integer, reply->item[1]->integer, false);
}

void te_lease_promote(te_lease *l) {
  if (l->state != TE_LEASE_HELD) return;
  begin_call(l, "te1_promote", 1);
  add_str(l, "100");
  te_redis_end(l->redis, 0, on_promoted, l);
}

static void on_due(uv_timer_t *timer) {
  te_lease *l = timer->data;
  if (l->state != TE_LEASE_HELD) return;
  l->events.on_work(l->events.arg);
  if (!l->events.has_room(l->events.arg)) te_lease_promote(l);
}

// Both are what somebody else wrote: their difference may not fit.
static uint64_t ms_until(int64_t then, int64_t now) {
  return then > now ? (uint64_t)then - (uint64_t)now : 0;
}

bool te_lease_note_due(te_lease *l, int64_t now, int64_t due, bool asks) {
  l->redis_ms = now;
  l->heard_ms = te_clock_ms();
  bool is_asked_for = asks && due > 0 && due <= now;
  if (due <= 0 || is_asked_for) {
    uv_timer_stop(&l->timers[TE_LEASE_DUE]);
    return is_asked_for;
  }
  uint64_t in_ms = ms_until(due, now);
  if (in_ms > WAIT_MS_MAX) in_ms = WAIT_MS_MAX;
  set_timer(l, TE_LEASE_DUE, in_ms + 1, on_due);
  return false;
}

// When the clock of Redis is there (te_clock_ms), by what it said last.
static uint64_t local_ms(const te_lease *l, uint64_t redis_ms) {
  int64_t then = redis_ms > FAR_MS ? (int64_t)FAR_MS : (int64_t)redis_ms;
  return l->heard_ms + ms_until(then, l->redis_ms);
}

void te_lease_set_expiry(const te_lease *l, te_task *t) {
  const te_envelope *e = &t->envelope;
  if (e->expiry_ms == 0) return;
  t->expires_ms = local_ms(l, e->expiry_ms);
  if ((e->flags & TE_FLAG_DEADLINE) != 0) t->deadline_ms = t->expires_ms;
}

static void send_heartbeat(te_lease *l, te_redis_reply_cb cb);
static void on_renewed(void *arg, int status, const te_reply *reply);

static void on_reaped(void *arg, int status, const te_reply *reply) {
  te_lease *l = arg;
  if (status < 0) return;
  if (reply->type == TE_REPLY_ERROR) {
    note_refusal(l, reply->text);  // the next heartbeat asks for it again
    return;
  }
  if (reply->type == TE_REPLY_INTEGER && reply->integer > 0) {
    te_log(TE_LOG_WARN, "took %lld tasks back from a lost worker",
           (long long)reply->integer);
  }
  // There may be another one.
  if (l->state == TE_LEASE_HELD) send_heartbeat(l, on_renewed);
}

static void on_foreign(uv_timer_t *timer) {
  te_lease *l = timer->data;
  if (l->state != TE_LEASE_HELD) return;
  send_reap(l, l->foreign, false, on_reaped);
}

static void note_foreign(te_lease *l, int64_t now, int64_t deadline,
                         te_slice wid) {
  if (deadline <= 0 || wid.size != TE_ID_PRODUCER_BYTES) {
    uv_timer_stop(&l->timers[TE_LEASE_FOREIGN]);
    return;
  }
  memcpy(l->foreign, wid.data, wid.size);
  uint64_t in_ms = ms_until(deadline, now);
  if (in_ms > WAIT_MS_MAX) in_ms = WAIT_MS_MAX;
  set_timer(l, TE_LEASE_FOREIGN, in_ms + 1 + jitter(l), on_foreign);
}

/* Asking and renewing. */

static void send_description(te_lease *l);

static void on_heartbeat(uv_timer_t *timer) {
  te_lease *l = timer->data;
  if (l->state != TE_LEASE_HELD) return;
  if (l->is_described) {
    send_heartbeat(l, on_renewed);
  } else {
    send_description(l);
  }
}

static void send_heartbeat(te_lease *l, te_redis_reply_cb cb) {
  begin_call(l, "te1_heartbeat", 2 + l->queue_count);
  add_str(l, l->wid);
  te_fcall_add_number(l->redis, l->ms);
  add_queues(l);
  te_redis_end(l->redis, 0, cb, l);
  // Should the reply never come, the next one is sent all the same.
  set_timer(l, TE_LEASE_HEARTBEAT, l->ms / 3, on_heartbeat);
}

// te1_register, and te1_describe of one that is registered.
static void send_all(te_lease *l, const char *function, te_redis_reply_cb cb) {
  begin_call(l, function, 3 + l->queue_count);
  add_str(l, l->wid);
  te_fcall_add_number(l->redis, l->ms);
  te_redis_add(l->redis, te_buf_slice(&l->description));
  add_queues(l);
  te_redis_end(l->redis, 0, cb, l);
  l->is_described = true;
}

static void note_requests(te_lease *l, const te_reply *list) {
  for (size_t i = 0; i < list->count; i++)
    l->events.on_request(l->events.arg, list->item[i]->text);
}

// now, due, whether there is work, another's lease end, whose, last hand-over;
// of a heartbeat also a list of requests
static void note_report(te_lease *l, const te_reply *r) {
  if (r->type != TE_REPLY_ARRAY || r->count < 6) return;
  int64_t now = r->item[0]->integer;
  te_lease_note_due(l, now, r->item[1]->integer, false);
  note_foreign(l, now, r->item[3]->integer, r->item[4]->text);
  set_timer(l, TE_LEASE_HEARTBEAT, l->ms / 3, on_heartbeat);
  if (r->item[2]->integer != 0) l->events.on_work(l->events.arg);
  l->events.on_handed(l->events.arg, (uint32_t)r->item[5]->integer);
  if (r->count > 6 && r->item[6]->type == TE_REPLY_ARRAY)
    note_requests(l, r->item[6]);
}

static void on_renewed(void *arg, int status, const te_reply *reply) {
  te_lease *l = arg;
  if (l->state != TE_LEASE_HELD) return;  // asked under another name
  if (te_lease_check(l, status, reply) == 0) note_report(l, reply);
}

// Redis may not have it when the connection was lost.
static void on_described(void *arg, int status, const te_reply *reply) {
  te_lease *l = arg;
  if (status < 0 || reply->type == TE_REPLY_ERROR) l->is_described = false;
  on_renewed(arg, status, reply);
}

// Renews the lease, too. When it is refused, the next one goes in place of a
// heartbeat.
static void send_description(te_lease *l) {
  send_all(l, "te1_describe", on_described);
  set_timer(l, TE_LEASE_HEARTBEAT, l->ms / 3, on_heartbeat);
}

static void hold(te_lease *l, const te_reply *held) {
  bool is_new = !l->was_held;
  l->state = TE_LEASE_HELD;
  l->was_held = true;
  if (!l->is_described) send_description(l);
  l->events.on_held(l->events.arg, is_new, held);
}

// Not by an error that passes: there may be rights that it does not have, or
// a key that is something else.
static bool is_barred(te_lease *l, int status, const te_reply *reply) {
  if (status < 0 || reply->type != TE_REPLY_ERROR) return false;
  if (te_greet_is_passing(reply)) return false;
  char why[WHY_BYTES_MAX];
  snprintf(why, sizeof(why), "Redis refuses this worker: %.*s",
           (int)reply->text.size, reply->text.data);
  set_timer(l, TE_LEASE_RETRY, BARRED_MS, on_retry);
  l->events.on_refused(l->events.arg, why);
  return true;
}

static void on_registered(void *arg, int status, const te_reply *reply) {
  te_lease *l = arg;
  if (is_barred(l, status, reply)) return;
  if (te_lease_check(l, status, reply) < 0) return;
  if (l->state != TE_LEASE_ASKING) return;
  note_report(l, reply);
  hold(l, NULL);
}

static void on_holds(void *arg, int status, const te_reply *reply) {
  te_lease *l = arg;
  if (te_lease_check(l, status, reply) < 0) return;
  if (l->state == TE_LEASE_ASKING) hold(l, reply);
}

static void on_still_held(void *arg, int status, const te_reply *reply) {
  te_lease *l = arg;
  if (te_lease_check(l, status, reply) < 0) return;
  if (l->state != TE_LEASE_ASKING) return;
  note_report(l, reply);
  begin_call(l, "te1_holds", 2);
  add_str(l, l->wid);
  te_fcall_add_number(l->redis, l->delivery);
  te_redis_end(l->redis, 0, on_holds, l);
}

void te_lease_ask(te_lease *l) {
  if (l->state == TE_LEASE_LOST) return;
  l->state = TE_LEASE_ASKING;
  if (l->was_held) {
    send_heartbeat(l, on_still_held);
    return;
  }
  send_all(l, "te1_register", on_registered);
}

void te_lease_pause(te_lease *l) {
  if (l->state != TE_LEASE_LOST) l->state = TE_LEASE_ABSENT;
  stop_timers(l);
}

/* Life. */

static void forget_description(te_lease *l) {
  te_buf_free(&l->description);
  for (size_t i = 0; i < l->queue_count; i++)
    te_free(l->queues[i]);
  te_free(l->queues);
  l->queues = NULL;
  l->queue_count = 0;
}

static void keep_description(te_lease *l, te_slice description,
                             const te_slice *queues, size_t queue_count) {
  assert(queue_count > 0);
  forget_description(l);
  te_buf_add_slice(&l->description, description);
  l->queues = te_alloc_zero(queue_count, sizeof(*l->queues));
  for (size_t i = 0; i < queue_count; i++)
    l->queues[i] = te_slice_dup(queues[i]);
  l->queue_count = queue_count;
}

void te_lease_set_name(te_lease *l, const char wid[TE_ID_PRODUCER_BYTES],
                       te_slice description, const te_slice *queues,
                       size_t queue_count) {
  assert(l->state == TE_LEASE_LOST);
  memcpy(l->wid, wid, TE_ID_PRODUCER_BYTES);
  keep_description(l, description, queues, queue_count);
  l->state = TE_LEASE_ABSENT;
  l->was_held = false;
}

void te_lease_describe(te_lease *l, te_slice description,
                       const te_slice *queues, size_t queue_count) {
  keep_description(l, description, queues, queue_count);
  l->is_described = false;
  if (l->state == TE_LEASE_HELD) send_description(l);
}

void te_lease_init(te_lease *l, uv_loop_t *loop, te_redis *redis,
                   const char *prefix, uint64_t ms,
                   const te_lease_events *events) {
  memset(l, 0, sizeof(*l));
  l->redis = redis;
  l->events = *events;
  l->prefix = prefix;
  l->ms = ms;
  l->state = TE_LEASE_LOST;
  for (int i = 0; i < TE_LEASE_TIMERS; i++) {
    uv_timer_init(loop, &l->timers[i]);
    l->timers[i].data = l;
  }
  l->open_handles = TE_LEASE_TIMERS;
}

static void on_timer_close(uv_handle_t *handle) {
  te_lease *l = handle->data;
  if (--l->open_handles > 0) return;
  forget_description(l);
  l->on_close(l->close_arg);
}

void te_lease_close(te_lease *l, void (*cb)(void *arg), void *arg) {
  l->on_close = cb;
  l->close_arg = arg;
  for (int i = 0; i < TE_LEASE_TIMERS; i++)
    uv_close((uv_handle_t *)&l->timers[i], on_timer_close);
}
