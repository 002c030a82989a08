#include "worker.h"

#include <assert.h>
#include <unistd.h>

#include "childlog.h"
#include "heir.h"
#include "id.h"
#include "queue.h"
#include "record.h"
#include "relay.h"
#include "tasklog.h"

#define QUIT_MS   2000  // for children to end by themselves
#define SETTLE_MS 5000  // for the last words with Redis

typedef enum stage {
  LOADING,  // no child has said hello yet
  RUNNING,
  DRAINING,  // what runs may end
  ENDING,    // children end
  SETTLING,  // the last outcomes are told
  LEAVING,   // the lease is given up
  STOPPED,
} stage;

struct te_worker {
  uv_loop_t *loop;
  te_log_level task_level;
  te_terms *terms;  // NULL until it is connected: nothing runs before
  te_worker_events events;
  char *claims_dir;   // NULL for none
  char *claims_path;  // NULL for none
  te_claims *claims;
  te_pool *pool;
  te_queue *queue;  // NULL until it is connected
  te_relay *relay;
  te_heir *heir;           // NULL where no claims lie
  uv_timer_t limit;        // for a stage on the way to STOPPED
  uv_prepare_t log_flush;  // log lines go out once in a turn of the loop
  int open_handles;
  stage stage;
  char wid[TE_ID_PRODUCER_BYTES];
  te_childlog childlog;
  bool has_served;    // has held the lease
  bool is_refused;    // it was not given, and not for the moment
  bool is_fenced;     // waits for its children to be gone
  bool was_down;      // Redis could not be reached when it was last heard of
  bool is_last_try;   // to reach it, before it stops
  bool has_compared;  // with Redis, because it could not leave
};

/* Log lines. */

static void on_log(void *arg, int level, const te_task *about, te_slice text) {
  te_worker *w = arg;
  te_tasklog_say(w->task_level, level, about, text);
}

static void on_log_flush(uv_prepare_t *prepare) {
  (void)prepare;
  te_log_flush();
}

/* Stopping. */

static void become_stopped(te_worker *w, bool is_told) {
  te_farewell f = {.is_told = is_told};
  if (!is_told) f.untold = te_queue_untold(w->queue, &f.outcomes);
  w->stage = STOPPED;
  uv_timer_stop(&w->limit);
  te_relay_close(w->relay);
  te_heir_close(w->heir);
  if (w->queue != NULL) te_queue_close(w->queue);
  w->relay = NULL;
  w->heir = NULL;
  w->queue = NULL;
  w->events.on_stopped(w->events.arg, &f);
}

static bool is_up(const te_worker *w) {
  return te_redis_is_up(te_queue_redis(w->queue));
}

static void on_left(void *arg, bool has_left) {
  te_worker *w = arg;
  if (w->stage == STOPPED) return;  // and its claims may be gone
  bool is_told = has_left || !w->has_served;
  // Else Redis has tasks in flight here, or nobody knows.
  if (!is_told) te_claims_keep_file(w->claims);
  become_stopped(w, is_told);
}

static void on_limit(uv_timer_t *timer);

static void enter(te_worker *w, stage next, uint64_t limit_ms) {
  w->stage = next;
  uv_update_time(w->loop);
  uv_timer_start(&w->limit, on_limit, limit_ms, 0);
}

// When Redis has tasks in flight here, one may have been handed over that is on
// its way: once more, after a comparison.
static void on_leave_answered(void *arg, bool has_left) {
  te_worker *w = arg;
  if (has_left || w->has_compared || !is_up(w)) return on_left(w, has_left);
  w->has_compared = true;
  w->stage = SETTLING;
  te_queue_compare(w->queue);
}

static void settle(te_worker *w) {
  if (w->queue == NULL || w->is_fenced) {
    become_stopped(w, true);
  } else if (!w->has_served && (!is_up(w) || w->is_refused)) {
    on_left(w, false);
  } else if (!is_up(w)) {
    if (!w->is_last_try) te_redis_hurry(te_queue_redis(w->queue));
    w->is_last_try = true;  // on_link ends it, or the limit
  } else if (te_queue_is_settled(w->queue)) {
    w->stage = LEAVING;
    te_queue_leave(w->queue, on_leave_answered, w);
  }
}

// Goes as far as it can.
static void go_on_stopping(te_worker *w) {
  if (w->stage == DRAINING && te_pool_in_hand(w->pool) == 0) {
    enter(w, ENDING, QUIT_MS);
    te_pool_quit(w->pool);
  }
  if (w->stage == ENDING && te_pool_alive(w->pool) == 0)
    enter(w, SETTLING, SETTLE_MS);
  if (w->stage == SETTLING) settle(w);
}

// What a stage was to bring about took too long.
static void on_limit(uv_timer_t *timer) {
  te_worker *w = timer->data;
  switch (w->stage) {
    case DRAINING:
    case ENDING:
      w->stage = ENDING;
      te_pool_kill(w->pool, w->is_fenced);
      break;
    case SETTLING:
    case LEAVING: on_left(w, false); return;
    case LOADING:
    case RUNNING:
    case STOPPED: return;
  }
  go_on_stopping(w);
}

void te_worker_stop(te_worker *w, bool is_cold) {
  if (w->stage == LOADING || w->stage == RUNNING) {
    enter(w, DRAINING, w->terms != NULL ? w->terms->grace_ms : 0);
    if (w->queue != NULL) te_queue_stop_fetching(w->queue);
    te_pool_drain(w->pool);
  }
  if (is_cold && w->stage <= ENDING) {
    on_limit(&w->limit);
  } else {
    go_on_stopping(w);
  }
}

/* A lost lease: all children go, and then a new incarnation begins. */

static void incarnate(te_worker *w) {
  te_id_producer(w->wid);
  te_claims_set_owner(w->claims, w->wid);
  te_queue_start(w->queue, w->wid, w->terms->description, w->terms->queues,
                 w->terms->queue_count);
}

static void rise_again(te_worker *w) {
  w->is_fenced = false;
  incarnate(w);
  int rc = te_pool_start(w->pool);
  if (rc < 0) te_log(TE_LOG_ERROR, "no child: %s", te_strerror(rc));
}

static void on_all_gone(te_worker *w) {
  if (w->is_fenced && w->stage == RUNNING) rise_again(w);
  go_on_stopping(w);
}

// Outcomes are logged as they come, before Redis has confirmed them: which it
// happens to refuse is said here.
static void on_fenced(void *arg, size_t refused) {
  te_worker *w = arg;
  size_t dropped = te_pool_in_hand(w->pool);
  te_log(TE_LOG_WARN,
         "the lease was lost, its tasks went back to their queues: %zu "
         "outcome%s from here refused, %zu task%s dropped%s",
         refused, refused == 1 ? "" : "s", dropped, dropped == 1 ? "" : "s",
         w->stage == RUNNING ? "; starting anew" : "");
  w->is_fenced = true;
  te_pool_kill(w->pool, true);
  if (te_pool_alive(w->pool) == 0) on_all_gone(w);
}

/* The pool's events. */

static void note_failed_start(te_worker *w, te_slice why) {
  if (w->stage == RUNNING && !w->is_fenced)
    te_childlog_failed(&w->childlog, why);
}

static void on_hello(void *arg, bool is_ready, te_slice hello) {
  te_worker *w = arg;
  if (w->stage == LOADING) {
    w->stage = RUNNING;
    w->events.on_hello(w->events.arg, hello);
  } else if (is_ready) {
    te_childlog_loaded(&w->childlog);
  } else {
    note_failed_start(w, te_record_field(hello, "error"));
  }
  if (w->queue != NULL) te_queue_wake(w->queue);
}

static void on_end(void *arg, te_task *t, uint32_t run_us) {
  te_worker *w = arg;
  te_tasklog_end(t, run_us);
  te_queue_end(w->queue, t);
  go_on_stopping(w);
}

static void on_state(void *arg, te_task *t, te_slice state) {
  te_worker *w = arg;
  te_queue_say(w->queue, t, state);
}

static void on_request(void *arg, te_child_ref from, uint32_t request,
                       te_slice payload) {
  te_worker *w = arg;
  if (w->relay == NULL) {
    te_pool_reply(w->pool, from, request, TE_EDOWN,
                  te_slice_str(te_strerror(TE_EDOWN)));
  } else {
    te_relay_request(w->relay, from, request, payload);
  }
}

static void on_reload(void *arg, te_reload what, te_slice text) {
  te_worker *w = arg;
  if (w->stage == RUNNING) w->events.on_reload(w->events.arg, what, text);
}

static void on_room(void *arg) {
  te_worker *w = arg;
  if (w->queue != NULL) te_queue_wake(w->queue);
}

static void on_death(void *arg, te_child_ref child, const te_death *death) {
  te_worker *w = arg;
  if (w->stage == LOADING) {
    w->events.on_trouble(w->events.arg, TE_ECLOSED, death->why, true);
  } else if (death->is_dismissed || death->was_ready) {
    if (w->stage <= DRAINING && !w->is_fenced) te_childlog_died(child, death);
  } else if (!death->is_killed) {  // else it said why it could not
    note_failed_start(w, te_slice_str(death->why));
  }
  if (w->relay != NULL) te_relay_forget_child(w->relay, child);
  if (te_pool_alive(w->pool) == 0) on_all_gone(w);
}

/* The queue's events. */

static void tell_link(te_worker *w, bool is_up) {
  if (is_up) te_relay_forget(w->relay);
  te_pool_send_link(w->pool, is_up);
}

static void on_link(void *arg, bool is_up, int code, const char *why,
                    bool fatal) {
  te_worker *w = arg;
  tell_link(w, is_up);
  if (!is_up) {
    w->events.on_trouble(w->events.arg, code, why, fatal);
  } else if (w->was_down) {
    w->events.on_recovered(w->events.arg);
  }
  w->was_down = !is_up;
  if (is_up && w->heir != NULL) te_heir_look(w->heir);
  if (!is_up && w->is_last_try) return on_left(w, false);
  go_on_stopping(w);
}

static void on_task(void *arg, te_task *t) {
  te_worker *w = arg;
  if (t->end != TE_END_NONE) {
    on_end(w, t, 0);
  } else if (w->stage == RUNNING) {
    te_envelope *e = &t->envelope;
    if (e->time_limit_ms == 0)
      e->time_limit_ms = te_terms_time_limit(w->terms, e->name);
    te_pool_submit(w->pool, t);
  } else {  // fetched while stopping
    te_task_end(t, TE_END_UNSPENT, te_slice_str(NULL));
    te_queue_end(w->queue, t);
  }
}

static void on_revoke(void *arg, te_task *t, bool is_order) {
  te_worker *w = arg;
  te_pool_revoke(w->pool, t, is_order);
}

static void on_item(void *arg, te_slice item) {
  te_worker *w = arg;
  te_relay_item(w->relay, item);
}

static void on_gap(void *arg) {
  te_worker *w = arg;
  // Tasks that wait ask anew.
  if (!w->was_down) tell_link(w, true);
}

static void on_settled(void *arg) {
  go_on_stopping(arg);
}

static size_t room(void *arg) {
  te_worker *w = arg;
  return w->stage == RUNNING ? te_pool_room(w->pool) : 0;
}

static void on_lease(void *arg) {
  te_worker *w = arg;
  w->has_served = true;
  w->is_refused = false;
  w->events.on_ready(w->events.arg);
}

static void on_refused(void *arg, const char *why) {
  te_worker *w = arg;
  w->is_refused = true;
  w->events.on_trouble(w->events.arg, TE_EREPLY, why, true);
}

/* Life. */

static void keep_terms(te_worker *w, const te_terms *terms) {
  te_terms_free(w->terms);
  w->terms = te_terms_new(terms);
  te_pool_set_limits(w->pool, &terms->limits);
}

void te_worker_set_terms(te_worker *w, const te_terms *terms) {
  assert(w->queue != NULL);
  keep_terms(w, terms);
  te_queue_describe(w->queue, w->terms->description, w->terms->queues,
                    w->terms->queue_count);
}

void te_worker_reload(te_worker *w) {
  if (w->stage == RUNNING) te_pool_reload(w->pool);
}

void te_worker_connect(te_worker *w, const te_worker_plan *plan) {
  assert(w->queue == NULL);
  te_queue_options options = {&plan->redis, plan->prefix, plan->lease_ms,
                              w->claims};
  te_queue_events events = {.on_link = on_link,
                            .on_lease = on_lease,
                            .on_refused = on_refused,
                            .on_task = on_task,
                            .on_revoke = on_revoke,
                            .on_fenced = on_fenced,
                            .on_item = on_item,
                            .on_gap = on_gap,
                            .on_settled = on_settled,
                            .room = room,
                            .arg = w};
  w->queue = te_queue_new(w->loop, &options, &events);
  w->relay = te_relay_new(w->pool, w->queue);
  te_heir_options heir = {
      w->claims_dir, w->claims_path, te_queue_redis(w->queue),
      plan->prefix,  plan->service,  plan->lease_ms};
  if (w->claims_dir != NULL) w->heir = te_heir_new(w->loop, &heir);
  te_claims_set_service(w->claims, plan->service);
  keep_terms(w, &plan->terms);
  incarnate(w);
}

static int make_claims(te_worker *w) {
  if (w->claims_dir == NULL) return te_claims_create(NULL, &w->claims);
  int rc = te_claims_create_in(w->claims_dir, &w->claims_path, &w->claims);
  if (rc == 0) return 0;
  te_log(TE_LOG_WARN,
         "%s: %s: if this worker is killed, its tasks come back when its lease "
         "ends, not before",
         w->claims_dir, te_strerror(rc));
  w->claims_path = te_strdup("");
  return te_claims_create(NULL, &w->claims);
}

static void make_pool(te_worker *w, const te_worker_options *o) {
  te_pool_options options = {o->processes, o->concurrency, o->program};
  te_pool_events events = {.on_hello = on_hello,
                           .on_end = on_end,
                           .on_request = on_request,
                           .on_log = on_log,
                           .on_state = on_state,
                           .on_reload = on_reload,
                           .on_room = on_room,
                           .on_death = on_death,
                           .arg = w};
  w->pool = te_pool_new(w->loop, &options, &events, w->claims);
  te_pool_set_config(w->pool, o->config);
}

int te_worker_new(uv_loop_t *loop, const te_worker_options *options,
                  const te_worker_events *events, te_worker **out) {
  te_worker *w = te_alloc_zero(1, sizeof(*w));
  w->loop = loop;
  w->task_level = options->task_level;
  w->events = *events;
  if (options->claims_dir != NULL)
    w->claims_dir = te_strdup(options->claims_dir);
  int rc = make_claims(w);
  if (rc < 0) {
    te_free(w->claims_dir);
    te_free(w->claims_path);
    te_free(w);
    return rc;
  }
  uv_timer_init(loop, &w->limit);
  uv_prepare_init(loop, &w->log_flush);
  uv_prepare_start(&w->log_flush, on_log_flush);
  uv_unref((uv_handle_t *)&w->log_flush);
  w->limit.data = w->log_flush.data = w;
  w->open_handles = 2;
  te_log_gather(true);
  make_pool(w, options);
  *out = w;
  return 0;
}

int te_worker_start(te_worker *w) {
  return te_pool_start(w->pool);
}

size_t te_worker_in_hand(const te_worker *w) {
  return te_pool_in_hand(w->pool);
}

static void on_handle_close(uv_handle_t *handle) {
  te_worker *w = handle->data;
  if (--w->open_handles > 0) return;
  te_terms_free(w->terms);
  te_childlog_free(&w->childlog);
  te_free(w->claims_dir);
  te_free(w->claims_path);
  te_free(w);
}

void te_worker_free(te_worker *w) {
  assert(w->stage == STOPPED);
  te_pool_free(w->pool);
  te_claims_free(w->claims);
  if (w->claims_dir != NULL) rmdir(w->claims_dir);  // if nothing lies there
  te_log_gather(false);
  uv_close((uv_handle_t *)&w->limit, on_handle_close);
  uv_close((uv_handle_t *)&w->log_flush, on_handle_close);
}
