#include "pool.h"

#include <assert.h>
#include <string.h>

#include "clock.h"
#include "dispatch.h"
#include "log.h"
#include "spin.h"
#include "turnover.h"

#define PATROL_MS 10
#define HELD_MS   50    // what no child has room for by then is for others
#define BACK_MAX  500   // tasks given back at a time: they go in one call
#define ORDER_MS  1000  // for a task that was ordered to end to do so

struct te_pool {
  uv_loop_t *loop;
  te_pool_events events;
  te_claims *claims;
  te_crew *crew;
  te_turnover *turnover;
  te_dispatch dispatch;
  size_t task_count;      // with children, and held
  uint64_t patrol_at_ms;  // 0: not running
  uv_timer_t patrol;
  te_spin spin;
  int open_handles;
  bool is_draining;   // takes no tasks
  bool is_link_down;  // as children are told
  bool gives_up;      // drops all tasks, however they end
};

static unsigned seats(const te_pool *p) {
  return p->dispatch.o.seats;
}

static te_hand *hand(te_pool *p, unsigned child) {
  return &p->dispatch.hands[child];
}

static bool is_ready(void *arg, unsigned child) {
  const te_pool *p = arg;
  return te_crew_is_ready(p->crew, child);
}

static size_t limit_room(void *arg, unsigned child, size_t room) {
  const te_pool *p = arg;
  return te_turnover_room(p->turnover, child, room);
}

static bool is_crowded(void *arg) {
  const te_pool *p = arg;
  return te_crew_alive(p->crew) > p->dispatch.o.processes;
}

size_t te_pool_room(const te_pool *p) {
  return p->is_draining ? 0 : te_dispatch_room(&p->dispatch);
}

size_t te_pool_in_hand(const te_pool *p) {
  return p->task_count;
}

/* Tasks on their way to a child and back. */

static void end_task(te_pool *p, te_task *t, uint32_t run_us) {
  p->task_count--;
  te_spin_end(&p->spin);
  if (!p->gives_up) {
    p->events.on_end(p->events.arg, t, run_us);
    return;
  }
  if (t->has_claim) te_claims_clear(p->claims, t->token);
  te_task_free(t);
}

static void on_patrol(uv_timer_t *timer);

// Looks after the children in `in_ms` at the latest.
static void watch(te_pool *p, uint64_t in_ms) {
  uint64_t at = te_clock_ms() + in_ms;
  if (p->patrol_at_ms != 0 && p->patrol_at_ms <= at) return;
  p->patrol_at_ms = at;
  uv_update_time(p->loop);
  uv_timer_start(&p->patrol, on_patrol, in_ms, 0);
}

static void send_task(te_pool *p, te_task *t, uint64_t now) {
  te_wire w = {.kind = TE_WIRE_TASK, .token = t->token};
  w.payload = te_slice_of(t->bytes, t->size);
  te_crew_tell(p->crew, t->child, &w);
  t->limit_ms = te_task_limit(t, now);
  if (t->limit_ms > 0) watch(p, t->limit_ms > now ? t->limit_ms - now : 0);
  if (hand(p, t->child)->count > 1) watch(p, PATROL_MS);
}

static void offer_held(te_pool *p) {
  te_held *held = &p->dispatch.held;
  if (held->count == 0) return;
  uint64_t now = te_clock_ms();
  te_task *t;
  while ((t = te_dispatch_offer(&p->dispatch, now)) != NULL)
    send_task(p, t, now);
  if (held->count > 0 && held->since_ms == 0) {
    held->since_ms = now;
    watch(p, HELD_MS);
  }
}

// A task and those held behind it.
static void end_unspent(te_pool *p, te_task *t) {
  te_held *held = &p->dispatch.held;
  while (t != NULL) {
    te_task *next = te_held_next(held, t);
    te_held_remove(held, t);
    te_task_end(t, TE_END_UNSPENT, te_slice_str(NULL));
    end_task(p, t, 0);
    t = next;
  }
}

static void end_all_unspent(te_pool *p) {
  end_unspent(p, te_held_first(&p->dispatch.held));
}

/*
 * What no child has room for goes back to its queue, for other workers; not
 * while Redis is away: nobody else could have it then. The last ones go first,
 * each lot in order, so that all stand at the queue's head as they did before.
 */
static void give_back(te_pool *p) {
  const te_held *held = &p->dispatch.held;
  if (held->count == 0) return;
  uint64_t held_ms = te_clock_ms() - held->since_ms;
  if (held_ms < HELD_MS) return watch(p, HELD_MS - held_ms);
  if (p->is_link_down) return watch(p, HELD_MS);
  end_unspent(p, te_held_near_end(held, BACK_MAX));
  if (held->count > 0) watch(p, PATROL_MS);
}

void te_pool_submit(te_pool *p, te_task *t) {
  p->task_count++;
  te_dispatch_add(&p->dispatch, t);
  offer_held(p);
  // For the first of the ends, with which the others come.
  if (te_dispatch_is_brief(&p->dispatch)) te_spin_begin(&p->spin);
}

// False when it has begun.
static bool take_out_unbegun(te_pool *p, te_task *t) {
  if (t->has_claim)
    return te_hand_withdraw_task(hand(p, t->child), p->claims, t);
  te_held_remove(&p->dispatch.held, t);
  return true;
}

void te_pool_revoke(te_pool *p, te_task *t, bool is_order) {
  te_wire w = {.kind = TE_WIRE_CANCEL, .token = t->token, .byte = 1};
  if (t->end != TE_END_NONE) return;  // its time is up: it is about to
  if (take_out_unbegun(p, t)) {
    te_task_revoke(t, false);
    end_task(p, t, 0);
    offer_held(p);
    return;
  }
  t->is_asked = true;
  te_claims_ask(p->claims, t->token);
  te_crew_tell(p->crew, t->child, &w);
  te_crew_ring(p->crew, t->child);
  if (!is_order) return;
  te_task_doom(t, te_clock_ms() + ORDER_MS);
  watch(p, ORDER_MS);
}

/* Children that leave. */

static void dismiss_if_done(te_pool *p, unsigned child) {
  if (te_crew_is_leaving(p->crew, child) && hand(p, child)->count == 0)
    te_crew_dismiss(p->crew, child);
}

static void on_leave(void *arg, te_child_ref child) {
  te_pool *p = arg;
  te_dispatch_withdraw(&p->dispatch, child.index);
  dismiss_if_done(p, child.index);
  offer_held(p);
}

static void check_wear(te_pool *p, unsigned child, uint64_t now) {
  if (p->is_draining) return;
  if (te_turnover_check(p->turnover, child, p->dispatch.mean_us, now))
    watch(p, TE_WEAR_PAUSE_MS);
}

static void note_ended(te_pool *p, unsigned child, uint64_t now) {
  te_turnover_note_end(p->turnover, child);
  check_wear(p, child, now);
  dismiss_if_done(p, child);
}

/* Slow children and time limits. */

// A child that computes does not tell of what has ended before.
static void collect_ended(te_pool *p, unsigned child, uint64_t now) {
  te_task *t;
  while ((t = te_hand_take_ended(hand(p, child), p->claims, now)) != NULL) {
    end_task(p, t, 0);
    note_ended(p, child, now);
  }
}

static void check_limit(te_pool *p, unsigned child, te_task *t, uint64_t now) {
  te_wire w = {.kind = TE_WIRE_CANCEL, .token = t->token};
  te_slice will;
  te_time time = te_task_check_limit(
      t, te_claims_taken_at(p->claims, t->token),
      te_claims_is_executing(p->claims, child, t->token), now);
  if (time != TE_TIME_LEFT && te_claims_will(p->claims, t->token, &will))
    te_task_execute_will(t, will);
  switch (time) {
    case TE_TIME_LEFT: break;
    case TE_TIME_CANCEL: te_crew_tell(p->crew, child, &w); break;
    case TE_TIME_KILL: te_crew_kill_one(p->crew, child); break;
  }
  if (t->limit_ms > now) watch(p, t->limit_ms - now);
}

static void look_after(te_pool *p, unsigned child, uint64_t now) {
  te_dispatch *d = &p->dispatch;
  te_hand *h = hand(p, child);
  if (te_hand_is_slow(h, now)) collect_ended(p, child, now);
  if (te_hand_check_stall(h, d->o.concurrency, now))
    te_dispatch_withdraw(d, child);
  te_list_each (link, &h->tasks)
    check_limit(p, child, te_container_of(link, te_task, link), now);
  if (te_dispatch_may_stall(d, child)) watch(p, PATROL_MS);
  check_wear(p, child, now);
}

static void on_patrol(uv_timer_t *timer) {
  te_pool *p = timer->data;
  uint64_t now = te_clock_ms();
  p->patrol_at_ms = 0;
  for (unsigned i = 0; i < seats(p); i++)
    look_after(p, i, now);
  offer_held(p);
  give_back(p);
  p->events.on_room(p->events.arg);
}

/* What children say. */

static void on_done(te_pool *p, unsigned child, const te_wire *w) {
  te_hand *h = hand(p, child);
  te_task *t = te_hand_find(h, w->token);
  te_dispatch_learn(&p->dispatch, t, w->number);
  if (t == NULL) return;  // was collected from its claim
  if (t->end == TE_END_NONE) te_task_set_outcome(t, w->payload);
  uint64_t now = te_clock_ms();
  te_hand_end(h, t, now);
  end_task(p, t, w->number);
  note_ended(p, child, now);
  if (te_dispatch_is_uneven(&p->dispatch, child, w->number))
    te_dispatch_withdraw(&p->dispatch, child);
  offer_held(p);
}

static void on_waits(te_pool *p, unsigned child, const te_wire *w) {
  te_hand *h = hand(p, child);
  te_task *t = te_hand_find(h, w->token);
  if (t == NULL) return;
  te_hand_set_waits(h, t, w->byte != 0);
  if (te_hand_check_clogged(h, p->dispatch.o.concurrency)) {
    te_log(TE_LOG_WARN,
           "child %u: %zu tasks wait for others, and no more can begin there "
           "until some of them end: use more processes, or nest less deeply",
           child, h->waiting);
  }
  check_wear(p, child, te_clock_ms());
  offer_held(p);
  p->events.on_room(p->events.arg);
}

static void on_state(te_pool *p, unsigned child, const te_wire *w) {
  te_task *t = te_hand_find(hand(p, child), w->token);
  // After its time was up, or the lease was lost, it says nothing any more.
  if (t == NULL || t->end != TE_END_NONE || p->gives_up) return;
  p->events.on_state(p->events.arg, t, w->payload);
}

static int on_wire(void *arg, te_child_ref from, const te_wire *w) {
  te_pool *p = arg;
  const te_pool_events *e = &p->events;
  const te_hand *h = hand(p, from.index);
  switch (w->kind) {
    case TE_WIRE_DONE: on_done(p, from.index, w); return 0;
    case TE_WIRE_WAITS: on_waits(p, from.index, w); return 0;
    case TE_WIRE_STATE: on_state(p, from.index, w); return 0;
    case TE_WIRE_REQUEST:
      e->on_request(e->arg, from, w->request, w->payload);
      return 0;
    case TE_WIRE_LOG:
      e->on_log(e->arg, w->byte, te_hand_find(h, w->token), w->payload);
      return 0;
    case TE_WIRE_LOADS:
    case TE_WIRE_HELLO:
    case TE_WIRE_CONFIG:
    case TE_WIRE_TASK:
    case TE_WIRE_REPLY:
    case TE_WIRE_ITEM:
    case TE_WIRE_LINK:
    case TE_WIRE_CANCEL:
    case TE_WIRE_QUIT: break;
  }
  return TE_EPROTO;
}

/* How children come and go. */

static void tell_link(te_pool *p, unsigned child) {
  te_wire w = {.kind = TE_WIRE_LINK, .byte = !p->is_link_down};
  te_crew_tell(p->crew, child, &w);
}

static void on_hello(void *arg, te_child_ref child, bool is_ready,
                     te_slice hello) {
  te_pool *p = arg;
  if (is_ready) te_turnover_start(p->turnover, child.index);
  if (p->is_link_down) tell_link(p, child.index);
  p->events.on_hello(p->events.arg, is_ready, hello);
  // One that waited for this one may leave now.
  for (unsigned i = 0; i < seats(p); i++)
    check_wear(p, i, te_clock_ms());
  offer_held(p);
}

static void on_end(void *arg, te_child_ref child, const te_death *death) {
  te_pool *p = arg;
  te_hand *h = hand(p, child.index);
  te_task *t;
  te_dispatch_withdraw(&p->dispatch, child.index);
  te_hand_judge(h, p->claims, death->is_killed, death->pid, death->why);
  while ((t = te_hand_take_first(h, te_clock_ms())) != NULL)
    end_task(p, t, 0);
  te_claims_reset_child(p->claims, child.index);
  if (p->gives_up || p->is_draining) end_all_unspent(p);
  offer_held(p);
}

static void on_reload(void *arg, te_reload what, te_slice text) {
  te_pool *p = arg;
  p->events.on_reload(p->events.arg, what, text);
}

static void on_death(void *arg, te_child_ref child, const te_death *death) {
  te_pool *p = arg;
  p->events.on_death(p->events.arg, child, death);
}

/* Life. */

int te_pool_start(te_pool *p) {
  p->gives_up = false;
  return te_crew_start(p->crew);
}

te_pool *te_pool_new(uv_loop_t *loop, const te_pool_options *options,
                     const te_pool_events *events, te_claims *claims) {
  te_pool *p = te_alloc_zero(1, sizeof(*p));
  te_crew_options crew = {options->processes, options->program,
                          te_claims_fd(claims)};
  te_crew_events crew_events = {.on_hello = on_hello,
                                .on_wire = on_wire,
                                .on_end = on_end,
                                .on_leave = on_leave,
                                .on_reload = on_reload,
                                .on_death = on_death,
                                .arg = p};
  p->loop = loop;
  p->events = *events;
  p->claims = claims;
  p->crew = te_crew_new(loop, &crew, &crew_events);
  te_dispatch_options dispatch = {.processes = options->processes,
                                  .concurrency = options->concurrency,
                                  .seats = te_crew_seats(p->crew),
                                  .claims = claims,
                                  .is_ready = is_ready,
                                  .limit = limit_room,
                                  .is_crowded = is_crowded,
                                  .arg = p};
  te_dispatch_init(&p->dispatch, &dispatch);
  p->turnover =
      te_turnover_new(p->crew, p->dispatch.hands, options->concurrency);
  uv_timer_init(loop, &p->patrol);
  te_spin_init(&p->spin, loop, uv_available_parallelism());
  p->patrol.data = p->spin.idle.data = p;
  p->open_handles = 2;
  return p;
}

void te_pool_set_config(te_pool *p, te_slice config) {
  te_crew_set_config(p->crew, config);
}

void te_pool_set_limits(te_pool *p, const te_wear_limits *limits) {
  te_turnover_set_limits(p->turnover, limits);
}

void te_pool_reload(te_pool *p) {
  te_crew_reload(p->crew);
}

void te_pool_reply(te_pool *p, te_child_ref to, uint32_t request, int status,
                   te_slice payload) {
  te_wire w = {.kind = TE_WIRE_REPLY, .request = request, .payload = payload};
  w.number = (uint32_t)status;
  if (!te_crew_has(p->crew, to)) return;
  if (te_crew_tell(p->crew, to.index, &w) != TE_ELIMIT) return;
  w.number = (uint32_t)TE_EREPLY;
  w.payload = te_slice_str("the reply is larger than a child can be sent");
  te_crew_tell(p->crew, to.index, &w);
}

void te_pool_send_item(te_pool *p, te_child_ref to, te_slice item) {
  te_wire w = {.kind = TE_WIRE_ITEM, .payload = item};
  if (!te_crew_has(p->crew, to)) return;
  if (te_crew_tell(p->crew, to.index, &w) != TE_ELIMIT) return;
  char large[TE_ID_BYTES + 1];
  memcpy(large, item.data, TE_ID_BYTES);
  large[TE_ID_BYTES] = '>';
  w.payload = te_slice_of(large, sizeof(large));
  te_crew_tell(p->crew, to.index, &w);
}

void te_pool_send_link(te_pool *p, bool is_up) {
  p->is_link_down = !is_up;
  for (unsigned i = 0; i < seats(p); i++)
    tell_link(p, i);
}

void te_pool_drain(te_pool *p) {
  p->is_draining = true;
  for (unsigned i = 0; i < seats(p); i++)
    te_dispatch_withdraw(&p->dispatch, i);
  end_all_unspent(p);
}

void te_pool_quit(te_pool *p) {
  te_crew_quit(p->crew);
}

void te_pool_kill(te_pool *p, bool give_up) {
  p->gives_up = give_up;
  if (give_up) end_all_unspent(p);
  te_crew_kill(p->crew);
}

size_t te_pool_alive(const te_pool *p) {
  return te_crew_alive(p->crew);
}

static void on_handle_close(uv_handle_t *handle) {
  te_pool *p = handle->data;
  if (--p->open_handles > 0) return;
  te_turnover_free(p->turnover);
  te_dispatch_free(&p->dispatch);
  te_free(p);
}

void te_pool_free(te_pool *p) {
  assert(p->task_count == 0);
  te_crew_free(p->crew);
  uv_close((uv_handle_t *)&p->patrol, on_handle_close);
  uv_close((uv_handle_t *)&p->spin.idle, on_handle_close);
}
