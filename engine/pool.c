#include "pool.h"

#include <assert.h>
#include <string.h>

#include "clock.h"
#include "hand.h"
#include "log.h"

#define PATROL_MS   10
#define HELD_MS     50    // what no child has room for by then is for others
#define BACK_MAX    500   // tasks given back at a time: they go in one call
#define WAITING_MAX 1000  // tasks of a child that wait for others
#define WEIGHT      8     // of the past in the mean run time
// Of envelopes, but for those of tasks that wait; a child that has nothing
// else gets a task all the same.
#define BYTES_MAX   ((size_t)256 * 1024 * 1024)

struct te_pool {
  uv_loop_t *loop;
  unsigned processes;
  unsigned concurrency;
  te_pool_events events;
  te_claims *claims;
  te_crew *crew;
  te_hand *hands;        // by the index of the child
  te_hand_index *index;  // the hands'
  te_list held;          // to be offered (again), in the order of submission
  uint64_t submitted;
  size_t held_count;
  size_t held_bytes;       // of their envelopes
  uint64_t held_since_ms;  // without a pause; 0: nothing is held
  size_t task_count;       // with children, and held
  double mean_us;          // of recent run times; 0 before the first
  uint64_t patrol_at_ms;   // 0: not running
  uv_timer_t patrol;
  bool is_draining;   // takes no tasks
  bool is_link_down;  // as children are told
  bool gives_up;      // drops all tasks, however they end
};

static size_t child_room(const te_pool *p, unsigned child) {
  if (!te_crew_is_ready(p->crew, child)) return 0;
  return te_hand_room(&p->hands[child], p->concurrency, p->mean_us);
}

size_t te_pool_room(const te_pool *p) {
  if (p->is_draining) return 0;
  size_t room = 0;
  size_t idle = 0;
  size_t bytes = p->held_bytes;
  for (unsigned i = 0; i < p->processes; i++) {
    size_t more = child_room(p, i);
    room += more;
    bytes += p->hands[i].bytes;
    if (more > 0 && te_hand_occupied(&p->hands[i]) == 0) idle++;
  }
  if (bytes >= BYTES_MAX && room > idle) room = idle;
  size_t claims = te_claims_free_count(p->claims);
  if (room > claims) room = claims;
  return room > p->held_count ? room - p->held_count : 0;
}

size_t te_pool_in_hand(const te_pool *p) {
  return p->task_count;
}

/* Tasks on their way to a child and back. */

static te_task *task_of(te_list *link) {
  return te_container_of(link, te_task, link);
}

// `before`: what is to stand behind it, or the list itself.
static void hold(te_pool *p, te_task *t, te_list *before) {
  te_list_add_last(before, &t->link);
  p->held_count++;
  p->held_bytes += t->size;
}

static te_task *take_held(te_pool *p, te_list *link) {
  te_task *t = task_of(link);
  te_list_remove(link);
  p->held_bytes -= t->size;
  if (--p->held_count == 0) p->held_since_ms = 0;
  return t;
}

static void end_task(te_pool *p, te_task *t, uint32_t run_us) {
  p->task_count--;
  if (!p->gives_up) {
    p->events.on_end(p->events.arg, t, run_us);
    return;
  }
  if (t->has_claim) te_claims_clear(p->claims, t->token);
  te_task_free(t);
}

static void offer(te_pool *p, unsigned child, te_task *t) {
  uint64_t now = te_clock_ms();
  te_hand_offer(&p->hands[child], p->claims, t, now);
  if (t->envelope.time_limit_ms > 0)
    t->limit_ms = now + t->envelope.time_limit_ms;
  te_wire w = {.kind = TE_WIRE_TASK, .token = t->token};
  w.payload = te_slice_of(t->bytes, t->size);
  te_crew_tell(p->crew, child, &w);
}

// The one with less before the task; then the one where fewer tasks wait,
// which could not go on while it computes.
static bool is_better(const te_hand *a, const te_hand *b) {
  size_t before_a = te_hand_occupied(a);
  size_t before_b = te_hand_occupied(b);
  return before_a != before_b ? before_a < before_b : a->waiting < b->waiting;
}

// False when none has room.
static bool choose_child(const te_pool *p, unsigned *best) {
  bool is_there = false;
  for (unsigned i = 0; i < p->processes; i++) {
    if (child_room(p, i) == 0) continue;
    if (!is_there || is_better(&p->hands[i], &p->hands[*best])) *best = i;
    is_there = true;
  }
  return is_there;
}

static void on_patrol(uv_timer_t *timer);

// Whether one of its tasks may keep others, or their ends, waiting.
static bool may_stall(const te_pool *p, unsigned child) {
  const te_hand *h = &p->hands[child];
  return te_hand_occupied(h) > p->concurrency ||
         (h->count > 1 && te_claims_is_busy(p->claims, child));
}

// Looks after the children in `in_ms` at the latest.
static void watch(te_pool *p, uint64_t in_ms) {
  uint64_t at = te_clock_ms() + in_ms;
  if (p->patrol_at_ms != 0 && p->patrol_at_ms <= at) return;
  p->patrol_at_ms = at;
  uv_update_time(p->loop);
  uv_timer_start(&p->patrol, on_patrol, in_ms, 0);
}

static void offer_held(te_pool *p) {
  unsigned child = 0;
  while (p->held_count > 0 && te_claims_free_count(p->claims) > 0 &&
         choose_child(p, &child)) {
    te_task *t = take_held(p, p->held.next);
    offer(p, child, t);
    if (t->limit_ms > 0) watch(p, t->envelope.time_limit_ms);
    if (p->hands[child].count > 1) watch(p, PATROL_MS);
  }
  if (p->held_count > 0 && p->held_since_ms == 0) {
    p->held_since_ms = te_clock_ms();
    watch(p, HELD_MS);
  }
}

static void end_unspent(te_pool *p, te_list *link) {
  te_task *t = take_held(p, link);
  te_task_end(t, TE_END_UNSPENT, te_slice_str(NULL));
  end_task(p, t, 0);
}

// All that no child has been offered ends unspent.
static void end_held(te_pool *p) {
  te_list_each (link, &p->held)
    end_unspent(p, link);
}

/*
 * What no child has room for goes back to its queue, for other workers; not
 * while Redis is away: nobody else could have it then. The last ones go first,
 * each lot in order, so that all stand at the queue's head as they did before.
 */
static void give_back(te_pool *p) {
  if (p->held_count == 0) return;
  uint64_t held_ms = te_clock_ms() - p->held_since_ms;
  if (held_ms < HELD_MS) return watch(p, HELD_MS - held_ms);
  if (p->is_link_down) return watch(p, HELD_MS);
  te_list *link = &p->held;
  for (size_t n = 0; n < BACK_MAX && link->prev != &p->held; n++)
    link = link->prev;
  for (te_list *next; link != &p->held; link = next) {
    next = link->next;
    end_unspent(p, link);
  }
  if (p->held_count > 0) watch(p, PATROL_MS);
}

void te_pool_submit(te_pool *p, te_task *t) {
  t->order = p->submitted++;
  p->task_count++;
  hold(p, t, &p->held);
  offer_held(p);
}

/* Slow children and time limits. */

// Each finds its place near the one before: they come by their order, the last
// first, or nearly so.
static void withdraw_all(te_pool *p, unsigned child) {
  te_task *t;
  te_list *at = &p->held;
  while ((t = te_hand_withdraw(&p->hands[child], p->claims)) != NULL) {
    while (at->prev != &p->held && task_of(at->prev)->order > t->order)
      at = at->prev;
    while (at != &p->held && task_of(at)->order < t->order)
      at = at->next;
    hold(p, t, at);
    at = &t->link;
  }
}

// A child that computes does not tell of what has ended before.
static void collect_ended(te_pool *p, unsigned child, uint64_t now) {
  te_task *t;
  while ((t = te_hand_take_ended(&p->hands[child], p->claims, now)) != NULL)
    end_task(p, t, 0);
}

static void check_limit(te_pool *p, unsigned child, te_task *t, uint64_t now) {
  te_wire w = {.kind = TE_WIRE_CANCEL, .token = t->token};
  switch (te_task_check_limit(
      t, te_claims_taken_at(p->claims, t->token),
      te_claims_is_executing(p->claims, child, t->token), now)) {
    case TE_TIME_LEFT: break;
    case TE_TIME_CANCEL: te_crew_tell(p->crew, child, &w); break;
    case TE_TIME_KILL: te_crew_kill_one(p->crew, child); break;
  }
  if (t->limit_ms > now) watch(p, t->limit_ms - now);
}

static void look_after(te_pool *p, unsigned child, uint64_t now) {
  te_hand *h = &p->hands[child];
  if (te_hand_is_slow(h, now)) collect_ended(p, child, now);
  if (te_hand_check_stall(h, p->concurrency, now)) withdraw_all(p, child);
  te_list_each (link, &h->tasks)
    check_limit(p, child, task_of(link), now);
  if (may_stall(p, child)) watch(p, PATROL_MS);
}

static void on_patrol(uv_timer_t *timer) {
  te_pool *p = timer->data;
  uint64_t now = te_clock_ms();
  p->patrol_at_ms = 0;
  for (unsigned i = 0; i < p->processes; i++)
    look_after(p, i, now);
  offer_held(p);
  give_back(p);
  p->events.on_room(p->events.arg);
}

/* What children say. */

// Long tasks count at once, short ones little by little.
static void learn(te_pool *p, uint32_t run_us) {
  double us = run_us > 0 ? run_us : 1;
  p->mean_us = p->mean_us <= 0 ? us : p->mean_us + (us - p->mean_us) / WEIGHT;
}

static void on_done(te_pool *p, unsigned child, const te_wire *w) {
  te_hand *h = &p->hands[child];
  learn(p, w->number);
  te_task *t = te_hand_find(h, w->token);
  if (t == NULL) return;  // was collected from its claim
  if (t->end == TE_END_NONE) te_task_set_outcome(t, w->payload);
  te_hand_end(h, t, te_clock_ms());
  end_task(p, t, w->number);
  offer_held(p);
}

static void on_waits(te_pool *p, unsigned child, const te_wire *w) {
  te_hand *h = &p->hands[child];
  te_task *t = te_hand_find(h, w->token);
  if (t == NULL) return;
  te_hand_set_waits(h, t, w->byte != 0);
  if (te_hand_check_clogged(h, p->concurrency)) {
    te_log(TE_LOG_WARN,
           "child %u: %zu tasks wait for others, and no more can begin there "
           "until some of them end: use more processes, or nest less deeply",
           child, h->waiting);
  }
  offer_held(p);
  p->events.on_room(p->events.arg);
}

static int on_wire(void *arg, te_child_ref from, const te_wire *w) {
  te_pool *p = arg;
  const te_pool_events *e = &p->events;
  const te_hand *h = &p->hands[from.index];
  switch (w->kind) {
    case TE_WIRE_DONE: on_done(p, from.index, w); return 0;
    case TE_WIRE_WAITS: on_waits(p, from.index, w); return 0;
    case TE_WIRE_REQUEST:
      e->on_request(e->arg, from, w->request, w->payload);
      return 0;
    case TE_WIRE_LOG:
      e->on_log(e->arg, w->byte, te_hand_find(h, w->token), w->payload);
      return 0;
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
  if (p->is_link_down) tell_link(p, child.index);
  p->events.on_hello(p->events.arg, is_ready, hello);
  offer_held(p);
}

static void on_end(void *arg, te_child_ref child, const te_death *death) {
  te_pool *p = arg;
  te_hand *h = &p->hands[child.index];
  te_task *t;
  withdraw_all(p, child.index);
  te_hand_judge(h, p->claims, death->is_killed, death->why);
  while ((t = te_hand_take_first(h, te_clock_ms())) != NULL)
    end_task(p, t, 0);
  te_claims_reset_child(p->claims, child.index);
  if (p->gives_up || p->is_draining) end_held(p);
  offer_held(p);
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

// At least half of the claims is for tasks that others wait for.
static size_t waiting_max(unsigned processes) {
  size_t share = TE_CLAIMS_MAX / 2 / processes;
  return share < WAITING_MAX ? share : WAITING_MAX;
}

te_pool *te_pool_new(uv_loop_t *loop, const te_pool_options *options,
                     const te_pool_events *events, te_claims *claims) {
  te_pool *p = te_alloc_zero(1, sizeof(*p));
  te_crew_options crew = {options->processes, options->program,
                          te_claims_fd(claims)};
  te_crew_events crew_events = {on_hello, on_wire, on_end, on_death, p};
  p->loop = loop;
  p->processes = options->processes;
  p->concurrency = options->concurrency;
  p->events = *events;
  p->claims = claims;
  p->crew = te_crew_new(loop, &crew, &crew_events);
  p->hands = te_alloc_zero(p->processes, sizeof(*p->hands));
  p->index = te_alloc_zero(1, sizeof(*p->index));
  for (unsigned i = 0; i < p->processes; i++)
    te_hand_init(&p->hands[i], i, waiting_max(p->processes), p->index);
  te_list_init(&p->held);
  uv_timer_init(loop, &p->patrol);
  p->patrol.data = p;
  return p;
}

void te_pool_set_config(te_pool *p, te_slice config) {
  te_crew_set_config(p->crew, config);
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
  for (unsigned i = 0; i < p->processes; i++)
    tell_link(p, i);
}

void te_pool_drain(te_pool *p) {
  p->is_draining = true;
  for (unsigned i = 0; i < p->processes; i++)
    withdraw_all(p, i);
  end_held(p);
}

void te_pool_quit(te_pool *p) {
  te_crew_quit(p->crew);
}

void te_pool_kill(te_pool *p, bool give_up) {
  p->gives_up = give_up;
  if (give_up) end_held(p);
  te_crew_kill(p->crew);
}

size_t te_pool_alive(const te_pool *p) {
  return te_crew_alive(p->crew);
}

static void on_timer_close(uv_handle_t *handle) {
  te_pool *p = handle->data;
  te_free(p->hands);
  te_free(p->index);
  te_free(p);
}

void te_pool_free(te_pool *p) {
  assert(p->task_count == 0);
  te_crew_free(p->crew);
  uv_close((uv_handle_t *)&p->patrol, on_timer_close);
}
