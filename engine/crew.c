#include "crew.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>

#include "clock.h"
#include "log.h"
#include "proc.h"
#include "record.h"

// Between tries when none of them gets ready: doubled each time.
#define RESTART_MS_FIRST 1000
#define RESTART_MS_MAX   5000
#define DISMISSAL_MS     2000  // for one that was dismissed to end by itself
#define SEATS_EACH       3     // for a child, and others that leave

static_assert(SEATS_EACH * TE_PROCESSES_MAX <= TE_CHILDREN_MAX, "indexes");

typedef struct child {
  te_crew *crew;
  te_proc *proc;  // NULL while there is none
  te_child_ref ref;
  uint32_t generation;  // of the files that it loads
  uint64_t since_ms;    // when it was started; then, dismissed
  bool is_ready;        // has said hello
  bool is_killed;       // by the master
  bool is_due;          // to leave soon
  bool is_leaving;      // gets no tasks
  bool is_dismissed;    // told to end
} child;

struct te_crew {
  uv_loop_t *loop;
  te_crew_events events;
  unsigned processes;
  unsigned seats;  // of children
  char *program;
  int claims_fd;
  te_buf config;
  child *children;
  size_t alive;
  uint32_t serial;
  unsigned failed_starts;  // in a row
  uint64_t pause_ms;       // before the next try, when they fail
  uint64_t start_ms;       // the last one took from start to hello
  uint32_t generation;     // counts the reloads
  bool is_probing;         // a reload: its first child has not said hello
  bool is_replacing;       // a reload: not all old ones have left
  bool is_ending;          // starts no children
  uv_timer_t restart;
  uv_timer_t dismissal;
  int open_handles;
};

typedef bool test(const child *c);

static bool is_current(const child *c) {
  return c->proc != NULL && !c->is_leaving;
}

static bool is_current_and_ready(const child *c) {
  return is_current(c) && c->is_ready;
}

// Loads, or has loaded, files of before a reload.
static bool is_stale(const child *c) {
  return is_current(c) && c->generation != c->crew->generation;
}

static bool is_new(const child *c) {
  return is_current(c) && !is_stale(c);
}

static bool is_fresh(const child *c) {
  return is_new(c) && !c->is_due;
}

static bool is_new_and_ready(const child *c) {
  return is_new(c) && c->is_ready;
}

static unsigned count(const te_crew *c, test *is_one) {
  unsigned n = 0;
  for (unsigned i = 0; i < c->seats; i++)
    if (is_one(&c->children[i])) n++;
  return n;
}

static int tell(child *c, const te_wire *w) {
  if (c->proc == NULL) return 0;
  int rc = te_wire_add(te_proc_out(c->proc), w);
  if (rc == 0) te_proc_flush(c->proc);
  return rc;
}

static void kill_child(child *c) {
  if (c->proc == NULL) return;
  c->is_killed = true;
  te_proc_kill(c->proc, SIGKILL);
}

/* Leaving and reloading. */

static void fill_or_retry(te_crew *c);

static void leave(child *c) {
  c->is_leaving = true;
  c->crew->events.on_leave(c->crew->events.arg, c->ref);
}

static unsigned spare(const te_crew *c) {
  unsigned ready = count(c, is_current_and_ready);
  return ready > c->processes ? ready - c->processes : 0;
}

static void let_stale_leave(te_crew *c) {
  bool are_all = count(c, is_new_and_ready) >= c->processes;
  for (unsigned i = 0; i < c->seats; i++) {
    child *one = &c->children[i];
    if (!is_stale(one)) continue;
    if (are_all || (one->is_ready && spare(c) > 0)) leave(one);
  }
}

static void tell_reload(const te_crew *c, te_reload what, te_slice text) {
  c->events.on_reload(c->events.arg, what, text);
}

static bool is_probe(const child *c) {
  return c->crew->is_probing && is_new(c);
}

// The children that are there stay.
static void fail_reload(te_crew *c, te_slice why) {
  c->is_probing = false;
  for (unsigned i = 0; i < c->seats; i++)
    c->children[i].generation = c->generation;
  tell_reload(c, TE_RELOAD_FAILED, why);
}

static void go_on_reloading(te_crew *c) {
  let_stale_leave(c);
  fill_or_retry(c);
  if (count(c, is_stale) > 0) return;
  c->is_replacing = false;
  tell_reload(c, TE_RELOAD_DONE, te_slice_str(NULL));
}

/* What children say. */

static void on_ready(child *c, te_slice hello) {
  te_crew *crew = c->crew;
  crew->failed_starts = 0;
  crew->pause_ms = RESTART_MS_FIRST;
  crew->start_ms = te_clock_ms() - c->since_ms;
  crew->events.on_hello(crew->events.arg, c->ref, true, hello);
  if (is_probe(c)) {
    crew->is_probing = false;
    crew->is_replacing = true;
    tell_reload(crew, TE_RELOAD_LOADED, hello);
  }
  if (crew->is_replacing) go_on_reloading(crew);
}

static void on_hello(child *c, const te_wire *w) {
  te_crew *crew = c->crew;
  c->is_ready = w->byte != 0;
  if (c->is_ready) {
    if (!c->is_leaving) on_ready(c, w->payload);
    return;
  }
  if (is_probe(c)) {
    fail_reload(crew, te_record_field(w->payload, "error"));
  } else if (!c->is_leaving) {
    crew->events.on_hello(crew->events.arg, c->ref, false, w->payload);
  }
  kill_child(c);  // the next one may be able to
}

static int hear(child *c, const te_wire *w) {
  const te_crew_events *e = &c->crew->events;
  if (w->kind != TE_WIRE_HELLO) return e->on_wire(e->arg, c->ref, w);
  if (c->is_ready) return TE_EPROTO;
  on_hello(c, w);
  return 0;
}

static void on_frame(void *arg, te_slice frame) {
  child *c = arg;
  te_wire w;
  int rc = te_wire_read(frame, &w);
  if (rc == 0) rc = hear(c, &w);
  if (rc < 0) te_proc_kill(c->proc, SIGKILL);
}

// The child is to blame for it, unlike one that kill_child ends: but not for
// being sent more than it can read while it computes.
static void on_fault(void *arg, int code) {
  child *c = arg;
  if (code == UV_ENOBUFS) {
    te_log(TE_LOG_WARN,
           "child %u reads nothing while too much waits for it: it is killed, "
           "and its tasks go back",
           c->ref.index);
    kill_child(c);
  } else {
    te_proc_kill(c->proc, SIGKILL);
  }
}

/* How they come and go. */

static void on_restart(uv_timer_t *timer);

static bool keeps_failing(const te_crew *c) {
  return c->failed_starts > c->processes;
}

static void on_end(void *arg, const char *why) {
  child *c = arg;
  te_crew *crew = c->crew;
  const te_crew_events *e = &crew->events;
  if (is_probe(c) && !c->is_ready && !c->is_killed) {
    fail_reload(crew, te_slice_str(why));
    c->is_killed = true;  // the reason has been told
  }
  te_death death = {why, c->is_ready, c->is_killed, c->is_dismissed};
  te_proc_free(c->proc);
  c->proc = NULL;
  c->is_ready = false;
  if (!death.was_ready && !c->is_leaving) crew->failed_starts++;
  // At once, unless one after the other fails to load its files.
  uint64_t pause_ms = keeps_failing(crew) ? crew->pause_ms : 0;
  if (!crew->is_ending) uv_timer_start(&crew->restart, on_restart, pause_ms, 0);
  e->on_end(e->arg, c->ref, &death);
  crew->alive--;
  e->on_death(e->arg, c->ref, &death);
}

static int start_child(child *c) {
  te_crew *crew = c->crew;
  char index[16];
  snprintf(index, sizeof(index), "%u", c->ref.index);
  // What `ps` shows, whatever path the program is run by.
  char name[] = "taskengine";
  char command[] = "child";
  char *args[] = {name, command, index, NULL};
  te_proc_options options = {
      .file = crew->program, .args = args, .claims_fd = crew->claims_fd};
  te_proc_events events = {on_frame, on_fault, on_end, c};
  int rc = te_proc_new(crew->loop, &options, &events, &c->proc);
  if (rc < 0) return rc;
  c->ref.serial = ++crew->serial;
  c->generation = crew->generation;
  c->since_ms = te_clock_ms();
  c->is_killed = c->is_due = c->is_leaving = c->is_dismissed = false;
  crew->alive++;
  te_wire w = {.kind = TE_WIRE_CONFIG, .payload = te_buf_slice(&crew->config)};
  tell(c, &w);
  return 0;
}

/*
 * How many are to be started: for each that is to leave another one, so that
 * there are twice as many at most. While a reload's first one loads, others
 * are for those alone that have died.
 */
static unsigned missing(const te_crew *c) {
  unsigned current = count(c, is_current);
  unsigned fresh = count(c, is_fresh);
  if (current < c->processes) return c->processes - current;
  if (c->is_probing) return count(c, is_new) == 0 ? 1 : 0;
  unsigned wanted = fresh < c->processes ? c->processes - fresh : 0;
  unsigned most = 2 * c->processes > current ? 2 * c->processes - current : 0;
  return wanted < most ? wanted : most;
}

// Starts those that are missing, as far as there are seats.
static int fill(te_crew *c) {
  int rc = 0;
  if (c->is_ending) return 0;
  unsigned more = missing(c);
  for (unsigned i = 0; i < c->seats && more > 0; i++) {
    if (c->children[i].proc != NULL) continue;
    int failed = start_child(&c->children[i]);
    if (failed < 0) rc = failed;
    more--;
  }
  return rc;
}

int te_crew_start(te_crew *c) {
  c->is_ending = false;
  return fill(c);
}

// Out of processes or memory: others may end soon.
static void fill_or_retry(te_crew *c) {
  if (fill(c) < 0) uv_timer_start(&c->restart, on_restart, RESTART_MS_FIRST, 0);
}

static void on_restart(uv_timer_t *timer) {
  te_crew *c = timer->data;
  if (keeps_failing(c) && c->pause_ms < RESTART_MS_MAX) {
    c->pause_ms *= 2;
    if (c->pause_ms > RESTART_MS_MAX) c->pause_ms = RESTART_MS_MAX;
  }
  fill_or_retry(c);
}

static void kill_late(child *c) {
  te_log(TE_LOG_WARN, "child %u has not ended %d s after its last task: killed",
         c->ref.index, DISMISSAL_MS / 1000);
  kill_child(c);
}

static void on_dismissal(uv_timer_t *timer) {
  te_crew *c = timer->data;
  uint64_t now = te_clock_ms();
  uint64_t next_ms = 0;
  for (unsigned i = 0; i < c->seats; i++) {
    child *one = &c->children[i];
    if (one->proc == NULL || !one->is_dismissed || one->is_killed) continue;
    uint64_t since_ms = now - one->since_ms;
    if (since_ms >= DISMISSAL_MS) {
      kill_late(one);
    } else if (next_ms == 0 || DISMISSAL_MS - since_ms < next_ms) {
      next_ms = DISMISSAL_MS - since_ms;
    }
  }
  if (next_ms > 0) uv_timer_start(timer, on_dismissal, next_ms, 0);
}

te_crew *te_crew_new(uv_loop_t *loop, const te_crew_options *options,
                     const te_crew_events *events) {
  assert(options->processes <= TE_PROCESSES_MAX);
  te_crew *c = te_alloc_zero(1, sizeof(*c));
  c->loop = loop;
  c->events = *events;
  c->processes = options->processes;
  c->seats = SEATS_EACH * options->processes;
  c->program = te_strdup(options->program);
  c->claims_fd = options->claims_fd;
  c->pause_ms = RESTART_MS_FIRST;
  c->children = te_alloc_zero(c->seats, sizeof(*c->children));
  for (unsigned i = 0; i < c->seats; i++) {
    c->children[i].crew = c;
    c->children[i].ref.index = i;
  }
  uv_timer_init(loop, &c->restart);
  uv_timer_init(loop, &c->dismissal);
  c->restart.data = c->dismissal.data = c;
  c->open_handles = 2;
  return c;
}

void te_crew_set_config(te_crew *c, te_slice config) {
  te_buf_clear(&c->config);
  te_buf_add_slice(&c->config, config);
}

unsigned te_crew_seats(const te_crew *c) {
  return c->seats;
}

bool te_crew_is_ready(const te_crew *c, unsigned index) {
  const child *one = &c->children[index];
  return one->is_ready && !one->is_leaving;
}

bool te_crew_is_leaving(const te_crew *c, unsigned index) {
  return c->children[index].is_leaving;
}

int te_crew_pid(const te_crew *c, unsigned index) {
  const child *one = &c->children[index];
  return one->proc == NULL ? 0 : te_proc_pid(one->proc);
}

uint64_t te_crew_start_ms(const te_crew *c) {
  return c->start_ms;
}

bool te_crew_has(const te_crew *c, te_child_ref ref) {
  if (ref.index >= c->seats) return false;
  const child *one = &c->children[ref.index];
  return one->proc != NULL && one->ref.serial == ref.serial;
}

int te_crew_tell(te_crew *c, unsigned index, const te_wire *w) {
  return tell(&c->children[index], w);
}

void te_crew_kill_one(te_crew *c, unsigned index) {
  kill_child(&c->children[index]);
}

void te_crew_prepare(te_crew *c, unsigned index) {
  if (c->children[index].is_due) return;
  c->children[index].is_due = true;
  if (!uv_is_active((uv_handle_t *)&c->restart)) fill_or_retry(c);
}

static bool has_seat(const te_crew *c) {
  for (unsigned i = 0; i < c->seats; i++)
    if (c->children[i].proc == NULL) return true;
  return false;
}

bool te_crew_can_replace(const te_crew *c) {
  if (c->is_ending || c->failed_starts > 0) return false;
  return count(c, is_current) > c->processes || has_seat(c);
}

bool te_crew_has_spare(const te_crew *c) {
  return !c->is_ending && spare(c) > 0;
}

void te_crew_leave(te_crew *c, unsigned index) {
  assert(te_crew_is_ready(c, index));
  leave(&c->children[index]);
  fill_or_retry(c);
}

void te_crew_dismiss(te_crew *c, unsigned index) {
  child *one = &c->children[index];
  te_wire w = {.kind = TE_WIRE_QUIT};
  if (one->is_dismissed) return;
  one->is_dismissed = true;
  one->since_ms = te_clock_ms();
  tell(one, &w);
  if (!uv_is_active((uv_handle_t *)&c->dismissal))
    uv_timer_start(&c->dismissal, on_dismissal, DISMISSAL_MS, 0);
}

void te_crew_reload(te_crew *c) {
  // One that loads for an earlier reload may have read what is no more.
  for (unsigned i = 0; i < c->seats; i++) {
    child *one = &c->children[i];
    if (!is_probe(one)) continue;
    one->is_leaving = true;
    kill_child(one);
  }
  c->generation++;
  c->is_probing = true;
  c->is_replacing = false;
  if (!has_seat(c)) {
    te_log(TE_LOG_INFO,
           "the reload waits for one of %u children that still end "
           "what they began",
           c->seats - count(c, is_current));
  }
  fill_or_retry(c);
}

static void stop_starting(te_crew *c) {
  c->is_ending = true;
  uv_timer_stop(&c->restart);
}

void te_crew_quit(te_crew *c) {
  te_wire w = {.kind = TE_WIRE_QUIT};
  stop_starting(c);
  for (unsigned i = 0; i < c->seats; i++) {
    if (c->children[i].is_ready) {
      tell(&c->children[i], &w);
    } else {
      kill_child(&c->children[i]);  // it may be loading for long
    }
  }
}

void te_crew_kill(te_crew *c) {
  stop_starting(c);
  for (unsigned i = 0; i < c->seats; i++)
    kill_child(&c->children[i]);
}

size_t te_crew_alive(const te_crew *c) {
  return c->alive;
}

static void on_timer_close(uv_handle_t *handle) {
  te_crew *c = handle->data;
  if (--c->open_handles > 0) return;
  te_buf_free(&c->config);
  te_free(c->children);
  te_free(c->program);
  te_free(c);
}

void te_crew_free(te_crew *c) {
  assert(c->alive == 0);
  uv_close((uv_handle_t *)&c->restart, on_timer_close);
  uv_close((uv_handle_t *)&c->dismissal, on_timer_close);
}
