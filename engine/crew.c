#include "crew.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>

#include "alarm.h"
#include "clock.h"
#include "log.h"
#include "proc.h"
#include "record.h"

// Between tries when none of them gets ready: doubled each time.
#define RESTART_MS_FIRST 1000
#define RESTART_MS_MAX   5000
#define LOADING_MS       5000  // then it is said that the files take long
#define DISMISSAL_MS     2000  // for one that was dismissed to end by itself

typedef struct child {
  te_crew *crew;
  unsigned index;
  te_proc *proc;    // NULL while there is none
  te_buf file;      // the last that it began to load
  uint64_t due_ms;  // to be ready, or gone; 0: whenever it likes
  uint64_t started_ms;
  bool is_killed;     // by the master
  bool is_dismissed;  // told to end
} child;

struct te_crew {
  uv_loop_t *loop;
  te_crew_events events;
  te_roster roster;
  char *program;
  int claims_fd;
  te_buf config;
  child *children;  // by index
  size_t alive;
  unsigned failed_starts;  // in a row
  uint64_t pause_ms;       // before the next try, when they fail
  uint64_t start_ms;       // the last one took from start to hello
  bool is_told_slow;       // that the files take long
  bool is_ending;          // starts no children
  uv_timer_t restart;
  uv_timer_t deadline;  // the first of the children's
  int open_handles;
};

static te_member *member_of(const child *c) {
  return &c->crew->roster.members[c->index];
}

static te_child_ref ref_of(const child *c) {
  return te_roster_ref(&c->crew->roster, c->index);
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

/* What takes too long. */

static void on_deadline(uv_timer_t *timer);

static void watch(te_crew *c, uint64_t in_ms) {
  uv_timer_t *timer = &c->deadline;
  if (uv_is_active((uv_handle_t *)timer) && uv_timer_get_due_in(timer) <= in_ms)
    return;
  uv_timer_start(timer, on_deadline, in_ms, 0);
}

static void set_deadline(child *c, uint64_t in_ms) {
  c->due_ms = te_clock_ms() + in_ms;
  watch(c->crew, in_ms);
}

// One line for all that load the same files.
static void tell_slow(child *c) {
  te_crew *crew = c->crew;
  te_slice file = te_buf_slice(&c->file);
  bool is_probe = te_roster_is_probe(&crew->roster, c->index);
  if (crew->is_told_slow) return;
  crew->is_told_slow = true;
  if (file.size == 0) file = te_slice_str("the first file");
  te_log(TE_LOG_WARN, "still loading %.*s after %d s: %s", (int)file.size,
         file.data, LOADING_MS / 1000,
         is_probe ? "the reload waits until it has returned, and the old "
                    "processes go on"
                  : "no task can come to that process before it has returned");
}

static void be_late(child *c) {
  if (!c->is_dismissed) return tell_slow(c);
  te_log(TE_LOG_WARN, "child %u has not ended %d s after its last task: killed",
         c->index, DISMISSAL_MS / 1000);
  kill_child(c);
}

static void on_deadline(uv_timer_t *timer) {
  te_crew *c = timer->data;
  uint64_t now = te_clock_ms();
  for (unsigned i = 0; i < c->roster.seats; i++) {
    child *one = &c->children[i];
    if (one->proc == NULL || one->is_killed || one->due_ms == 0) continue;
    if (one->due_ms > now) {
      watch(c, one->due_ms - now);
    } else {
      one->due_ms = 0;
      be_late(one);
    }
  }
}

/* Leaving and reloading. */

static void fill_or_retry(te_crew *c);

static void leave(child *c) {
  member_of(c)->is_leaving = true;
  c->crew->events.on_leave(c->crew->events.arg, ref_of(c));
}

static void tell_reload(const te_crew *c, te_reload what, te_slice text) {
  c->events.on_reload(c->events.arg, what, text);
}

static void fail_reload(te_crew *c, te_slice why) {
  te_roster_note_failed(&c->roster);
  tell_reload(c, TE_RELOAD_FAILED, why);
}

static void go_on_reloading(te_crew *c) {
  for (unsigned i = 0; i < c->roster.seats; i++)
    if (te_roster_may_leave(&c->roster, i)) leave(&c->children[i]);
  fill_or_retry(c);
  if (te_roster_check_replaced(&c->roster))
    tell_reload(c, TE_RELOAD_DONE, te_slice_str(NULL));
}

/* What children say. */

static void on_ready(child *c, te_slice hello) {
  te_crew *crew = c->crew;
  crew->failed_starts = 0;
  crew->pause_ms = RESTART_MS_FIRST;
  crew->start_ms = te_clock_ms() - c->started_ms;
  crew->is_told_slow = false;
  crew->events.on_hello(crew->events.arg, ref_of(c), true, hello);
  if (te_roster_is_probe(&crew->roster, c->index)) {
    te_roster_note_loaded(&crew->roster);
    tell_reload(crew, TE_RELOAD_LOADED, hello);
  }
  if (crew->roster.is_replacing) go_on_reloading(crew);
}

static void on_hello(child *c, const te_wire *w) {
  te_crew *crew = c->crew;
  te_member *m = member_of(c);
  if (!c->is_dismissed) c->due_ms = 0;
  m->is_ready = w->byte != 0;
  if (m->is_ready) {
    if (!m->is_leaving) on_ready(c, w->payload);
    return;
  }
  if (te_roster_is_probe(&crew->roster, c->index)) {
    fail_reload(crew, te_record_field(w->payload, "error"));
  } else if (!m->is_leaving) {
    crew->events.on_hello(crew->events.arg, ref_of(c), false, w->payload);
  }
  kill_child(c);  // the next one may be able to
}

static int hear(child *c, const te_wire *w) {
  const te_crew_events *e = &c->crew->events;
  bool is_hello = w->kind == TE_WIRE_HELLO;
  if (!is_hello && w->kind != TE_WIRE_LOADS)
    return e->on_wire(e->arg, ref_of(c), w);
  if (member_of(c)->is_ready) return TE_EPROTO;
  if (is_hello) {
    on_hello(c, w);
  } else {
    te_buf_clear(&c->file);
    te_buf_add_slice(&c->file, w->payload);
  }
  return 0;
}

static int on_frame(void *arg, te_slice frame) {
  te_wire w;
  int rc = te_wire_read(frame, &w);
  return rc < 0 ? rc : hear(arg, &w);
}

// The child is to blame for it, unlike one that kill_child ends: but not for
// being sent more than it can read while it computes.
static void on_fault(void *arg, int code) {
  child *c = arg;
  if (code == UV_ENOBUFS) {
    te_log(TE_LOG_WARN,
           "child %u reads nothing while too much waits for it: it is killed, "
           "and its tasks go back",
           c->index);
    kill_child(c);
  } else {
    te_proc_kill(c->proc, SIGKILL);
  }
}

/* How they come and go. */

static void on_restart(uv_timer_t *timer);

static bool keeps_failing(const te_crew *c) {
  return c->failed_starts > c->roster.processes;
}

static void on_end(void *arg, const char *why) {
  child *c = arg;
  te_crew *crew = c->crew;
  const te_member *m = member_of(c);
  const te_crew_events *e = &crew->events;
  bool is_probe = te_roster_is_probe(&crew->roster, c->index);
  if (is_probe && !m->is_ready && !c->is_killed) {
    fail_reload(crew, te_slice_str(why));
    c->is_killed = true;  // the reason has been told
  }
  te_death death = {.why = why,
                    .pid = te_proc_pid(c->proc),
                    .was_ready = m->is_ready,
                    .is_killed = c->is_killed,
                    .is_dismissed = c->is_dismissed};
  te_child_ref who = ref_of(c);
  te_proc_free(c->proc);
  c->proc = NULL;
  te_roster_leave_seat(&crew->roster, c->index);
  if (!death.was_ready && !m->is_leaving) crew->failed_starts++;
  // At once, unless one after the other fails to load its files.
  uint64_t pause_ms = keeps_failing(crew) ? crew->pause_ms : 0;
  if (!crew->is_ending) uv_timer_start(&crew->restart, on_restart, pause_ms, 0);
  e->on_end(e->arg, who, &death);
  crew->alive--;
  e->on_death(e->arg, who, &death);
}

static int start_child(child *c) {
  te_crew *crew = c->crew;
  char index[16];
  snprintf(index, sizeof(index), "%u", c->index);
  // What `ps` shows, whatever path the program is run by.
  char name[] = "taskengine";
  char command[] = "child";
  char *args[] = {name, command, index, NULL};
  te_proc_options options = {
      .file = crew->program, .args = args, .claims_fd = crew->claims_fd};
  te_proc_events events = {on_frame, on_fault, on_end, c};
  int rc = te_proc_new(crew->loop, &options, &events, &c->proc);
  if (rc < 0) return rc;
  te_roster_seat(&crew->roster, c->index);
  te_buf_clear(&c->file);
  c->started_ms = te_clock_ms();
  c->is_killed = c->is_dismissed = false;
  set_deadline(c, LOADING_MS);
  crew->alive++;
  te_wire w = {.kind = TE_WIRE_CONFIG, .payload = te_buf_slice(&crew->config)};
  tell(c, &w);
  return 0;
}

// Starts those that are missing, as far as there are seats.
static int fill(te_crew *c) {
  int rc = 0;
  if (c->is_ending) return 0;
  unsigned more = te_roster_missing(&c->roster);
  for (unsigned i = 0; i < c->roster.seats && more > 0; i++) {
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

/* Life. */

te_crew *te_crew_new(uv_loop_t *loop, const te_crew_options *options,
                     const te_crew_events *events) {
  te_crew *c = te_alloc_zero(1, sizeof(*c));
  c->loop = loop;
  c->events = *events;
  te_roster_init(&c->roster, options->processes);
  c->program = te_strdup(options->program);
  c->claims_fd = options->claims_fd;
  c->pause_ms = RESTART_MS_FIRST;
  c->children = te_alloc_zero(c->roster.seats, sizeof(*c->children));
  for (unsigned i = 0; i < c->roster.seats; i++) {
    c->children[i].crew = c;
    c->children[i].index = i;
  }
  uv_timer_init(loop, &c->restart);
  uv_timer_init(loop, &c->deadline);
  c->restart.data = c->deadline.data = c;
  c->open_handles = 2;
  return c;
}

void te_crew_set_config(te_crew *c, te_slice config) {
  te_buf_clear(&c->config);
  te_buf_add_slice(&c->config, config);
}

unsigned te_crew_seats(const te_crew *c) {
  return c->roster.seats;
}

bool te_crew_is_ready(const te_crew *c, unsigned index) {
  return te_roster_is_ready(&c->roster, index);
}

bool te_crew_is_leaving(const te_crew *c, unsigned index) {
  return te_roster_is_leaving(&c->roster, index);
}

int te_crew_pid(const te_crew *c, unsigned index) {
  const child *one = &c->children[index];
  return one->proc == NULL ? 0 : te_proc_pid(one->proc);
}

uint64_t te_crew_start_ms(const te_crew *c) {
  return c->start_ms;
}

bool te_crew_has(const te_crew *c, te_child_ref which) {
  return te_roster_has(&c->roster, which);
}

int te_crew_tell(te_crew *c, unsigned index, const te_wire *w) {
  return tell(&c->children[index], w);
}

void te_crew_kill_one(te_crew *c, unsigned index) {
  kill_child(&c->children[index]);
}

void te_crew_ring(te_crew *c, unsigned index) {
  const child *one = &c->children[index];
  if (one->proc == NULL || !member_of(one)->is_ready) return;
  te_proc_kill(one->proc, te_alarm_signal());
}

void te_crew_prepare(te_crew *c, unsigned index) {
  te_member *m = &c->roster.members[index];
  if (m->is_due) return;
  m->is_due = true;
  if (!uv_is_active((uv_handle_t *)&c->restart)) fill_or_retry(c);
}

bool te_crew_can_replace(const te_crew *c) {
  return !c->is_ending && c->failed_starts == 0 &&
         te_roster_can_replace(&c->roster);
}

bool te_crew_has_spare(const te_crew *c) {
  return !c->is_ending && te_roster_spare(&c->roster) > 0;
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
  tell(one, &w);
  set_deadline(one, DISMISSAL_MS);
}

void te_crew_reload(te_crew *c) {
  te_roster *r = &c->roster;
  // One that loads for an earlier reload may have read what is no more.
  for (unsigned i = 0; i < r->seats; i++) {
    if (!te_roster_is_probe(r, i)) continue;
    r->members[i].is_leaving = true;
    kill_child(&c->children[i]);
  }
  te_roster_reload(r);
  c->is_told_slow = false;
  if (te_roster_free_seat(r) == TE_ROSTER_NO_SEAT) {
    te_log(TE_LOG_INFO,
           "the reload waits for one of %u children that still end "
           "what they began",
           te_roster_leaving(r));
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
  for (unsigned i = 0; i < c->roster.seats; i++) {
    if (c->roster.members[i].is_ready) {
      tell(&c->children[i], &w);
    } else {
      kill_child(&c->children[i]);  // it may be loading for long
    }
  }
}

void te_crew_kill(te_crew *c) {
  stop_starting(c);
  for (unsigned i = 0; i < c->roster.seats; i++)
    kill_child(&c->children[i]);
}

size_t te_crew_alive(const te_crew *c) {
  return c->alive;
}

static void on_timer_close(uv_handle_t *handle) {
  te_crew *c = handle->data;
  if (--c->open_handles > 0) return;
  te_buf_free(&c->config);
  for (unsigned i = 0; i < c->roster.seats; i++)
    te_buf_free(&c->children[i].file);
  te_free(c->children);
  te_roster_free(&c->roster);
  te_free(c->program);
  te_free(c);
}

void te_crew_free(te_crew *c) {
  assert(c->alive == 0);
  uv_close((uv_handle_t *)&c->restart, on_timer_close);
  uv_close((uv_handle_t *)&c->deadline, on_timer_close);
}
