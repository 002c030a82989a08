#include "pool.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "frame.h"
#include "hand.h"
#include "wire.h"

#define PATROL_MS  10
#define RESTART_MS 1000  // between tries when none of them gets ready
#define WEIGHT     8     // of the past in the mean run time

typedef struct child {
  te_pool *pool;
  te_proc *proc;  // NULL while there is none
  te_child_ref ref;
  te_hand hand;
  bool is_ready;  // has said hello
} child;

struct te_pool {
  uv_loop_t *loop;
  te_pool_options options;
  te_pool_events events;
  te_claims *claims;
  char *program;
  te_buf config;
  child *children;
  te_list held;  // to be offered (again)
  size_t held_count;
  size_t task_count;  // with children, and held
  size_t alive;
  uint32_t serial;
  unsigned failed_starts;  // in a row
  double mean_us;          // of recent run times; 0 before the first
  uint64_t patrol_at_ms;   // 0: not running
  uv_timer_t patrol;
  uv_timer_t restart;
  bool is_draining;  // takes no tasks
  bool is_ending;    // starts no children
  bool gives_up;     // drops the tasks of children that die
  int open_handles;
};

static size_t child_room(const child *c) {
  const te_pool *p = c->pool;
  if (!c->is_ready) return 0;
  return te_hand_room(&c->hand, p->options.concurrency, p->mean_us);
}

size_t te_pool_room(const te_pool *p) {
  if (p->is_draining) return 0;
  size_t room = 0;
  for (unsigned i = 0; i < p->options.processes; i++)
    room += child_room(&p->children[i]);
  size_t claims = te_claims_free_count(p->claims);
  if (room > claims) room = claims;
  return room > p->held_count ? room - p->held_count : 0;
}

size_t te_pool_in_hand(const te_pool *p) {
  return p->task_count;
}

/* Tasks on their way to a child and back. */

static void hold(te_pool *p, te_task *t, bool first) {
  if (first) {
    te_list_add_first(&p->held, &t->link);
  } else {
    te_list_add_last(&p->held, &t->link);
  }
  p->held_count++;
}

static te_task *take_held(te_pool *p) {
  te_list *first = te_list_first(&p->held);
  if (first == NULL) return NULL;
  te_list_remove(first);
  p->held_count--;
  return te_container_of(first, te_task, link);
}

static void end_task(te_pool *p, te_task *t, uint32_t run_us) {
  p->task_count--;
  p->events.on_end(p->events.arg, t, run_us);
}

static void add_token(te_buf *out, te_token token) {
  te_buf_add_u32(out, token.claim);
  te_buf_add_u32(out, token.generation);
}

static void tell(child *c, enum te_wire_kind kind, te_slice payload) {
  if (c->proc == NULL) return;
  te_buf *out = te_proc_out(c->proc);
  size_t mark = te_frame_begin(out);
  te_buf_add_u8(out, (uint8_t)kind);
  te_buf_add_slice(out, payload);
  if (te_frame_end(out, mark) == 0) te_proc_flush(c->proc);
}

static void offer(child *c, te_task *t) {
  te_pool *p = c->pool;
  uint64_t now = te_clock_ms();
  te_hand_offer(&c->hand, p->claims, c->ref.index, t, now);
  if (t->envelope.time_limit_ms > 0)
    t->limit_ms = now + t->envelope.time_limit_ms;

  te_buf *out = te_proc_out(c->proc);
  size_t mark = te_frame_begin(out);
  te_buf_add_u8(out, TE_WIRE_TASK);
  add_token(out, t->token);
  te_buf_add(out, t->bytes, t->size);
  int rc = te_frame_end(out, mark);
  assert(rc == 0);  // an envelope is smaller than a frame may be
  te_proc_flush(c->proc);
}

// The child with a free slot, or else with the least before it; NULL for none.
static child *choose_child(te_pool *p) {
  child *best = NULL;
  for (unsigned i = 0; i < p->options.processes; i++) {
    child *c = &p->children[i];
    if (child_room(c) == 0) continue;
    if (best == NULL ||
        te_hand_occupied(&c->hand) < te_hand_occupied(&best->hand))
      best = c;
  }
  return best;
}

static void on_patrol(uv_timer_t *timer);

static bool needs_patrol(const te_pool *p) {
  for (unsigned i = 0; i < p->options.processes; i++) {
    const te_hand *h = &p->children[i].hand;
    if (te_hand_occupied(h) > p->options.concurrency) return true;
  }
  return false;
}

// Looks after the children in `in_ms` at the latest.
static void watch(te_pool *p, uint64_t in_ms) {
  uint64_t at = te_clock_ms() + in_ms;
  if (p->patrol_at_ms != 0 && p->patrol_at_ms <= at) return;
  p->patrol_at_ms = at;
  uv_update_time(p->loop);
  uv_timer_start(&p->patrol, on_patrol, in_ms, 0);
}

static void offer_to(child *c, te_task *t) {
  te_pool *p = c->pool;
  offer(c, t);
  if (t->limit_ms > 0) watch(p, t->envelope.time_limit_ms);
  if (te_hand_occupied(&c->hand) > p->options.concurrency) watch(p, PATROL_MS);
}

static void offer_held(te_pool *p) {
  child *c;
  while (te_claims_free_count(p->claims) > 0 && (c = choose_child(p)) != NULL) {
    te_task *t = take_held(p);
    if (t == NULL) return;
    offer_to(c, t);
  }
}

void te_pool_submit(te_pool *p, te_task *t) {
  p->task_count++;
  hold(p, t, false);
  offer_held(p);
}

/* Slow children and time limits. */

static void withdraw_all(child *c) {
  te_task *t;
  while ((t = te_hand_withdraw(&c->hand, c->pool->claims)) != NULL)
    hold(c->pool, t, true);
}

static void cancel(child *c, const te_task *t) {
  te_buf token;
  te_buf_init(&token);
  add_token(&token, t->token);
  tell(c, TE_WIRE_CANCEL, te_buf_slice(&token));
  te_buf_free(&token);
}

static void check_limit(child *c, te_task *t, uint64_t now) {
  const te_claims *claims = c->pool->claims;
  switch (te_task_check_limit(
      t, te_claims_taken_at(claims, t->token),
      te_claims_is_executing(claims, c->ref.index, t->token), now)) {
    case TE_TIME_LEFT: break;
    case TE_TIME_CANCEL: cancel(c, t); break;
    case TE_TIME_KILL: te_proc_kill(c->proc, SIGKILL); break;
  }
  if (t->limit_ms > now) watch(c->pool, t->limit_ms - now);
}

static void on_patrol(uv_timer_t *timer) {
  te_pool *p = timer->data;
  uint64_t now = te_clock_ms();
  p->patrol_at_ms = 0;
  for (unsigned i = 0; i < p->options.processes; i++) {
    child *c = &p->children[i];
    if (te_hand_check_stall(&c->hand, p->options.concurrency, now))
      withdraw_all(c);
    te_list_each (link, &c->hand.tasks)
      check_limit(c, te_container_of(link, te_task, link), now);
  }
  offer_held(p);
  if (needs_patrol(p)) watch(p, PATROL_MS);
  p->events.on_room(p->events.arg);
}

/* What children say. */

// The child's task that a frame speaks of, or NULL.
static te_task *find_task(child *c, te_slice payload) {
  if (payload.size < 8) return NULL;
  te_token token = {te_read_u32(payload.data), te_read_u32(payload.data + 4)};
  return te_hand_find(&c->hand, token);
}

// Long tasks count at once, short ones little by little.
static void learn(te_pool *p, uint32_t run_us) {
  double us = run_us > 0 ? run_us : 1;
  p->mean_us = p->mean_us <= 0 ? us : p->mean_us + (us - p->mean_us) / WEIGHT;
}

static int on_done(child *c, te_slice payload) {
  te_pool *p = c->pool;
  te_task *t = find_task(c, payload);
  if (t == NULL || payload.size < 13) return TE_EPROTO;
  uint32_t run_us = te_read_u32(payload.data + 8);
  te_slice record = te_slice_of(payload.data + 12, payload.size - 12);
  if (t->end == TE_END_NONE) {
    if (record.data[0] == 'N') {
      te_task_fail(t, TE_END_UNKNOWN, "NotRegistered",
                   "no worker of queue \"%.*s\" knows the task \"%.*s\"",
                   (int)t->envelope.queue.size, t->envelope.queue.data,
                   (int)t->envelope.name.size, t->envelope.name.data);
    } else {
      te_task_end(t, TE_END_OUTCOME, record);
    }
  }
  learn(p, run_us);
  te_hand_end(&c->hand, t, te_clock_ms());
  end_task(p, t, run_us);
  offer_held(p);
  return 0;
}

static int on_waits(child *c, te_slice payload) {
  te_task *t = find_task(c, payload);
  if (t == NULL || payload.size != 9) return TE_EPROTO;
  te_hand_set_waits(&c->hand, t, payload.data[8] != 0);
  offer_held(c->pool);
  c->pool->events.on_room(c->pool->events.arg);
  return 0;
}

static int on_request(child *c, te_slice payload) {
  te_pool *p = c->pool;
  if (payload.size < 4) return TE_EPROTO;
  te_slice rest = te_slice_of(payload.data + 4, payload.size - 4);
  p->events.on_request(p->events.arg, c->ref, te_read_u32(payload.data), rest);
  return 0;
}

static int on_log(child *c, te_slice payload) {
  te_pool *p = c->pool;
  if (payload.size < 9) return TE_EPROTO;
  te_slice rest = te_slice_of(payload.data + 1, payload.size - 1);
  te_slice text = te_slice_of(payload.data + 9, payload.size - 9);
  p->events.on_log(p->events.arg, payload.data[0], find_task(c, rest), text);
  return 0;
}

static int on_hello(child *c, te_slice payload) {
  if (c->is_ready) return TE_EPROTO;
  c->is_ready = true;
  c->pool->failed_starts = 0;
  c->pool->events.on_hello(c->pool->events.arg, payload);
  offer_held(c->pool);
  return 0;
}

static int hear(child *c, char kind, te_slice payload) {
  switch (kind) {
    case TE_WIRE_DONE: return on_done(c, payload);
    case TE_WIRE_WAITS: return on_waits(c, payload);
    case TE_WIRE_REQUEST: return on_request(c, payload);
    case TE_WIRE_LOG: return on_log(c, payload);
    case TE_WIRE_HELLO: return on_hello(c, payload);
    default: return TE_EPROTO;
  }
}

static void on_frame(void *arg, te_slice frame) {
  child *c = arg;
  te_slice payload = te_slice_of(frame.data + 1, frame.size - 1);
  int rc = hear(c, frame.data[0], payload);
  if (rc < 0) te_proc_kill(c->proc, SIGKILL);
}

static void on_fault(void *arg, int code) {
  (void)code;
  child *c = arg;
  te_proc_kill(c->proc, SIGKILL);
}

/* How children come and go. */

static void drop_task(te_pool *p, te_task *t) {
  if (t->has_claim) te_claims_clear(p->claims, t->token);
  p->task_count--;
  te_task_free(t);
}

static void end_orphan(child *c, te_task *t, const te_task *culprit,
                       const char *why) {
  te_pool *p = c->pool;
  te_hand_end(&c->hand, t, te_clock_ms());
  if (p->gives_up) {
    drop_task(p, t);
    return;
  }
  te_slice outcome;
  if (t->end == TE_END_NONE &&
      te_claims_outcome(p->claims, t->token, &outcome)) {
    te_task_end(t, TE_END_OUTCOME, outcome);
  } else if (t->end == TE_END_NONE && t == culprit) {
    te_task_fail(t, TE_END_LOST, "WorkerLost",
                 "the process that ran it ended: %s", why);
  } else if (t->end == TE_END_NONE) {
    te_task_end(t, TE_END_BACK, te_slice_str(NULL));
  }
  end_task(p, t, 0);
}

static void end_orphans(child *c, const char *why) {
  const te_task *culprit =
      te_hand_culprit(&c->hand, c->pool->claims, c->ref.index);
  withdraw_all(c);
  te_list_each (link, &c->hand.tasks)
    end_orphan(c, te_container_of(link, te_task, link), culprit, why);
  te_claims_reset_child(c->pool->claims, c->ref.index);
}

static void on_restart(uv_timer_t *timer);

// At once, unless one after the other fails to load its files.
static uint64_t restart_pause_ms(const te_pool *p) {
  if (p->failed_starts <= p->options.processes) return 0;
  return RESTART_MS;
}

static void on_end(void *arg, const char *why) {
  child *c = arg;
  te_pool *p = c->pool;
  bool was_ready = c->is_ready;
  te_proc_free(c->proc);
  c->proc = NULL;
  c->is_ready = false;
  p->alive--;
  end_orphans(c, why);
  p->events.on_death(p->events.arg, c->ref, why, was_ready);
  if (!was_ready) p->failed_starts++;
  if (!p->is_ending)
    uv_timer_start(&p->restart, on_restart, restart_pause_ms(p), 0);
  offer_held(p);
}

static int start_child(te_pool *p, child *c) {
  char index[16];
  snprintf(index, sizeof(index), "%u", c->ref.index);
  char command[] = "child";
  char *args[] = {p->program, command, index, NULL};
  te_proc_options options = {
      .file = p->program, .args = args, .claims_fd = te_claims_fd(p->claims)};
  te_proc_events events = {on_frame, on_fault, on_end, c};
  int rc = te_proc_new(p->loop, &options, &events, &c->proc);
  if (rc < 0) return rc;
  c->ref.serial = ++p->serial;
  p->alive++;
  tell(c, TE_WIRE_CONFIG, te_buf_slice(&p->config));
  return 0;
}

int te_pool_start(te_pool *p) {
  int rc = 0;
  p->is_ending = p->gives_up = false;
  for (unsigned i = 0; i < p->options.processes; i++) {
    child *c = &p->children[i];
    if (c->proc != NULL) continue;
    int failed = start_child(p, c);
    if (failed < 0) rc = failed;
  }
  return rc;
}

static void on_restart(uv_timer_t *timer) {
  te_pool *p = timer->data;
  // Out of processes or memory: others may end soon.
  if (te_pool_start(p) < 0)
    uv_timer_start(&p->restart, on_restart, RESTART_MS, 0);
}

te_pool *te_pool_new(uv_loop_t *loop, const te_pool_options *options,
                     const te_pool_events *events, te_claims *claims) {
  assert(options->processes <= TE_CHILDREN_MAX);
  te_pool *p = te_alloc_zero(1, sizeof(*p));
  p->loop = loop;
  p->options = *options;
  p->events = *events;
  p->claims = claims;
  p->program = te_strdup(options->program);
  p->children = te_alloc_zero(options->processes, sizeof(*p->children));
  for (unsigned i = 0; i < options->processes; i++) {
    p->children[i].pool = p;
    p->children[i].ref.index = i;
    te_hand_init(&p->children[i].hand);
  }
  te_list_init(&p->held);
  uv_timer_init(loop, &p->patrol);
  uv_timer_init(loop, &p->restart);
  p->patrol.data = p->restart.data = p;
  p->open_handles = 2;
  return p;
}

void te_pool_set_config(te_pool *p, te_slice config) {
  te_buf_clear(&p->config);
  te_buf_add_slice(&p->config, config);
}

static child *find_child(te_pool *p, te_child_ref ref) {
  if (ref.index >= p->options.processes) return NULL;
  child *c = &p->children[ref.index];
  return c->proc != NULL && c->ref.serial == ref.serial ? c : NULL;
}

void te_pool_reply(te_pool *p, te_child_ref to, uint32_t request, int status,
                   te_slice payload) {
  child *c = find_child(p, to);
  if (c == NULL) return;
  te_buf *out = te_proc_out(c->proc);
  size_t mark = te_frame_begin(out);
  te_buf_add_u8(out, TE_WIRE_REPLY);
  te_buf_add_u32(out, request);
  te_buf_add_u32(out, (uint32_t)status);
  te_buf_add_slice(out, payload);
  if (te_frame_end(out, mark) == 0) te_proc_flush(c->proc);
}

void te_pool_send_item(te_pool *p, te_child_ref to, te_slice item) {
  child *c = find_child(p, to);
  if (c != NULL) tell(c, TE_WIRE_ITEM, item);
}

void te_pool_send_link(te_pool *p, bool is_up) {
  char byte = is_up ? 1 : 0;
  for (unsigned i = 0; i < p->options.processes; i++)
    tell(&p->children[i], TE_WIRE_LINK, te_slice_of(&byte, 1));
}

void te_pool_drain(te_pool *p) {
  p->is_draining = true;
  for (unsigned i = 0; i < p->options.processes; i++)
    withdraw_all(&p->children[i]);
  te_task *t;
  while ((t = take_held(p)) != NULL) {
    te_task_end(t, TE_END_UNSPENT, te_slice_str(NULL));
    end_task(p, t, 0);
  }
}

void te_pool_kill(te_pool *p, bool give_up) {
  p->gives_up = give_up;
  p->is_ending = true;
  uv_timer_stop(&p->restart);
  te_task *t;
  while (give_up && (t = take_held(p)) != NULL)
    drop_task(p, t);
  for (unsigned i = 0; i < p->options.processes; i++)
    if (p->children[i].proc != NULL) te_proc_kill(p->children[i].proc, SIGKILL);
}

size_t te_pool_alive(const te_pool *p) {
  return p->alive;
}

static void on_timer_close(uv_handle_t *handle) {
  te_pool *p = handle->data;
  if (--p->open_handles > 0) return;
  te_buf_free(&p->config);
  te_free(p->children);
  te_free(p->program);
  te_free(p);
}

void te_pool_free(te_pool *p) {
  assert(p->alive == 0 && p->task_count == 0);
  uv_close((uv_handle_t *)&p->patrol, on_timer_close);
  uv_close((uv_handle_t *)&p->restart, on_timer_close);
}
