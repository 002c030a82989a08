#include "crew.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>

#include "log.h"
#include "proc.h"

// Between tries when none of them gets ready: doubled each time.
#define RESTART_MS_FIRST 1000
#define RESTART_MS_MAX   5000

typedef struct child {
  te_crew *crew;
  te_proc *proc;  // NULL while there is none
  te_child_ref ref;
  bool is_ready;   // has said hello
  bool is_killed;  // by the master
} child;

struct te_crew {
  uv_loop_t *loop;
  te_crew_events events;
  unsigned processes;
  char *program;
  int claims_fd;
  te_buf config;
  child *children;
  size_t alive;
  uint32_t serial;
  unsigned failed_starts;  // in a row
  uint64_t pause_ms;       // before the next try, when they fail
  bool is_ending;          // starts no children
  uv_timer_t restart;
};

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

/* What children say. */

static void on_hello(child *c, const te_wire *w) {
  te_crew *crew = c->crew;
  c->is_ready = w->byte != 0;
  if (c->is_ready) {
    crew->failed_starts = 0;
    crew->pause_ms = RESTART_MS_FIRST;
  }
  crew->events.on_hello(crew->events.arg, c->ref, c->is_ready, w->payload);
  if (!c->is_ready) kill_child(c);  // the next one may be able to
}

static void on_frame(void *arg, te_slice frame) {
  child *c = arg;
  const te_crew_events *e = &c->crew->events;
  te_wire w;
  int rc = te_wire_read(frame, &w);
  if (rc < 0) {
  } else if (w.kind != TE_WIRE_HELLO) {
    rc = e->on_wire(e->arg, c->ref, &w);
  } else if (c->is_ready) {
    rc = TE_EPROTO;
  } else {
    on_hello(c, &w);
  }
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
  te_death death = {why, c->is_ready, c->is_killed};
  te_proc_free(c->proc);
  c->proc = NULL;
  c->is_ready = false;
  if (!death.was_ready) crew->failed_starts++;
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
  c->is_killed = false;
  crew->alive++;
  te_wire w = {.kind = TE_WIRE_CONFIG, .payload = te_buf_slice(&crew->config)};
  tell(c, &w);
  return 0;
}

int te_crew_start(te_crew *c) {
  int rc = 0;
  c->is_ending = false;
  for (unsigned i = 0; i < c->processes; i++) {
    if (c->children[i].proc != NULL) continue;
    int failed = start_child(&c->children[i]);
    if (failed < 0) rc = failed;
  }
  return rc;
}

static void on_restart(uv_timer_t *timer) {
  te_crew *c = timer->data;
  if (keeps_failing(c) && c->pause_ms < RESTART_MS_MAX) {
    c->pause_ms *= 2;
    if (c->pause_ms > RESTART_MS_MAX) c->pause_ms = RESTART_MS_MAX;
  }
  // Out of processes or memory: others may end soon.
  if (te_crew_start(c) < 0)
    uv_timer_start(&c->restart, on_restart, RESTART_MS_FIRST, 0);
}

te_crew *te_crew_new(uv_loop_t *loop, const te_crew_options *options,
                     const te_crew_events *events) {
  assert(options->processes <= TE_CHILDREN_MAX);
  te_crew *c = te_alloc_zero(1, sizeof(*c));
  c->loop = loop;
  c->events = *events;
  c->processes = options->processes;
  c->program = te_strdup(options->program);
  c->claims_fd = options->claims_fd;
  c->pause_ms = RESTART_MS_FIRST;
  c->children = te_alloc_zero(c->processes, sizeof(*c->children));
  for (unsigned i = 0; i < c->processes; i++) {
    c->children[i].crew = c;
    c->children[i].ref.index = i;
  }
  uv_timer_init(loop, &c->restart);
  c->restart.data = c;
  return c;
}

void te_crew_set_config(te_crew *c, te_slice config) {
  te_buf_clear(&c->config);
  te_buf_add_slice(&c->config, config);
}

bool te_crew_is_ready(const te_crew *c, unsigned index) {
  return c->children[index].is_ready;
}

bool te_crew_has(const te_crew *c, te_child_ref ref) {
  if (ref.index >= c->processes) return false;
  const child *one = &c->children[ref.index];
  return one->proc != NULL && one->ref.serial == ref.serial;
}

int te_crew_tell(te_crew *c, unsigned index, const te_wire *w) {
  return tell(&c->children[index], w);
}

void te_crew_kill_one(te_crew *c, unsigned index) {
  kill_child(&c->children[index]);
}

static void stop_starting(te_crew *c) {
  c->is_ending = true;
  uv_timer_stop(&c->restart);
}

void te_crew_quit(te_crew *c) {
  te_wire w = {.kind = TE_WIRE_QUIT};
  stop_starting(c);
  for (unsigned i = 0; i < c->processes; i++) {
    if (c->children[i].is_ready) {
      tell(&c->children[i], &w);
    } else {
      kill_child(&c->children[i]);  // it may be loading for long
    }
  }
}

void te_crew_kill(te_crew *c) {
  stop_starting(c);
  for (unsigned i = 0; i < c->processes; i++)
    kill_child(&c->children[i]);
}

size_t te_crew_alive(const te_crew *c) {
  return c->alive;
}

static void on_timer_close(uv_handle_t *handle) {
  te_crew *c = handle->data;
  te_buf_free(&c->config);
  te_free(c->children);
  te_free(c->program);
  te_free(c);
}

void te_crew_free(te_crew *c) {
  assert(c->alive == 0);
  uv_close((uv_handle_t *)&c->restart, on_timer_close);
}
