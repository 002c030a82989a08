#include "embedded.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "launch.h"
#include "list.h"
#include "pace.h"
#include "supervisor.h"

enum {
  LINE_BYTES_MAX = 1024,    // of the supervisor; a longer one is none of its
  LAUNCH_WAIT_MS = 2000,    // for a new supervisor's first word or silence
  WAITED_FAILURES_MAX = 4,  // while somebody waits, pauses stay below 400 ms
};

typedef enum phase {
  REST,        // nobody has asked yet, or it failed and nobody asked again
  CONNECTING,  // to the supervisor's socket
  LAUNCHING,   // a supervisor was started: until it listens or is gone
  WAITING,     // connected; the server does not answer yet
  READY,
  PAUSED,  // until the next attempt
} phase;

/*
 * A pipe or socket being read; it outlives te_embedded_close, and a new one
 * is made for each attempt, hence a block of its own.
 */
typedef struct channel {
  uv_pipe_t pipe;
  uv_connect_t connect;
  te_embedded *owner;  // NULL when let go
  te_buf in;
  char bytes[512];
} channel;

struct te_embedded {
  uv_loop_t *loop;
  char *name;
  phase phase;
  channel *channel;  // CONNECTING to READY, else NULL
  uv_timer_t timer;
  uint64_t wake_ms;   // LAUNCHING, PAUSED: when to go on
  bool may_launch;    // no supervisor was started in this attempt yet
  bool was_ready;     // so it is to be so again, whoever asks
  unsigned failures;  // attempts in a row, for the pause between them
  char *socket;       // READY: where the server answers
  bool no_program;    // it says what no supervisor says: do without
  te_list requests;   // te_embedded_ensure calls not yet answered
  bool is_closed;
};

typedef struct request {
  te_list link;
  te_embedded_cb cb;
  void *arg;
  uint64_t timeout_ms;
  uint64_t deadline_ms;
} request;

static void on_timer(uv_timer_t *timer);

// Sets the timer to the earliest of what there is to wait for.
static void arm(te_embedded *e) {
  uint64_t at = UINT64_MAX;
  if (e->phase == LAUNCHING || e->phase == PAUSED) at = e->wake_ms;
  te_list_each (link, &e->requests) {
    const request *r = te_container_of(link, request, link);
    if (e->phase == READY) at = 0;
    if (r->deadline_ms < at) at = r->deadline_ms;
  }
  uint64_t now = uv_now(e->loop);
  if (at == UINT64_MAX) {
    uv_timer_stop(&e->timer);
  } else {
    uv_timer_start(&e->timer, on_timer, at > now ? at - now : 0, 0);
  }
}

static void answer(request *r, int status, const char *socket,
                   const char *why) {
  te_list_remove(&r->link);
  r->cb(r->arg, status, socket, why);
  te_free(r);
}

// --------------------------------------------------------------- channels

static void on_channel_closed(uv_handle_t *handle) {
  channel *c = handle->data;
  te_buf_free(&c->in);
  te_free(c);
}

static channel *make_channel(te_embedded *e) {
  channel *c = te_alloc_zero(1, sizeof(*c));
  uv_pipe_init(e->loop, &c->pipe, 0);
  c->pipe.data = c->connect.data = c;
  c->owner = e;
  te_buf_init(&c->in);
  assert(e->channel == NULL);
  e->channel = c;
  return c;
}

static void drop_channel(te_embedded *e) {
  channel *c = e->channel;
  if (c == NULL) return;
  e->channel = NULL;
  c->owner = NULL;
  uv_close((uv_handle_t *)&c->pipe, on_channel_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
  channel *c = handle->data;
  (void)suggested;
  *out = uv_buf_init(c->bytes, sizeof(c->bytes));
}

// ------------------------------------------------------------------ phases

static void enter(te_embedded *e, phase next) {
  e->phase = next;
  if (next != READY) {
    te_free(e->socket);
    e->socket = NULL;
  }
  arm(e);
}

// Somebody waits for it, or has it and would miss it.
static bool is_wanted(const te_embedded *e) {
  return e->was_ready || !te_list_is_empty(&e->requests);
}

// The supervisor is gone or none could be reached: once more, after a moment,
// if anybody is to have it.
static void try_later(te_embedded *e) {
  drop_channel(e);
  if (!is_wanted(e)) {
    enter(e, REST);
    return;
  }
  unsigned failures = ++e->failures;
  if (failures > WAITED_FAILURES_MAX && !te_list_is_empty(&e->requests)) {
    failures = WAITED_FAILURES_MAX;
  }
  uint32_t chance;
  te_random(&chance, sizeof(chance));
  e->wake_ms = uv_now(e->loop) + te_pace_backoff_ms(failures, chance);
  enter(e, PAUSED);
}

// It cannot be had: whoever waits is told so, now.
static void fail(te_embedded *e, int code, const char *why) {
  te_list waiting;
  te_list_init(&waiting);
  te_list_each (link, &e->requests) {
    te_list_remove(link);
    te_list_add_last(&waiting, link);
  }
  try_later(e);
  for (te_list *link; (link = te_list_first(&waiting)) != NULL;) {
    answer(te_container_of(link, request, link), code, NULL, why);
  }
}

static void become_ready(te_embedded *e, te_slice socket) {
  e->failures = 0;
  e->was_ready = true;
  te_free(e->socket);
  e->socket = te_slice_dup(socket);
  enter(e, READY);  // the requests are answered by the timer, at once
}

// "failed CODE TEXT": false when it is none.
static bool take_failure(te_embedded *e, const char *line) {
  static const char word[] = "failed ";
  if (strncmp(line, word, sizeof(word) - 1) != 0) return false;
  char *text;
  long code = strtol(line + sizeof(word) - 1, &text, 10);
  if (code >= 0 || code < INT32_MIN || *text != ' ') return false;
  fail(e, (int)code, text + 1);
  return true;
}

// A line of the supervisor, see users.h.
static void take_line(te_embedded *e, const char *line) {
  static const char ready[] = "ready ";
  if (strncmp(line, ready, sizeof(ready) - 1) == 0) {
    become_ready(e, te_slice_str(line + sizeof(ready) - 1));
  } else if (strcmp(line, "wait") == 0) {
    enter(e, WAITING);
  } else if (!take_failure(e, line)) {
    fail(e, TE_EPROTO,
         "the supervisor of the embedded Redis is of another "
         "version: end all that uses it and start again");
  }
}

// Takes the next line into `line`. False when there is no whole one.
static bool next_line(te_buf *in, char line[LINE_BYTES_MAX]) {
  te_slice all = te_buf_slice(in);
  const char *nl = all.size == 0 ? NULL : memchr(all.data, '\n', all.size);
  if (nl == NULL) return false;
  size_t size = (size_t)(nl - all.data);
  snprintf(line, LINE_BYTES_MAX, "%.*s", (int)size, all.data);
  te_buf_consume(in, size + 1);
  return true;
}

// --------------------------------------------------------------- connecting

static void on_supervisor_read(uv_stream_t *stream, ssize_t size,
                               const uv_buf_t *buf) {
  channel *c = stream->data;
  if (size < 0 || te_buf_size(&c->in) > LINE_BYTES_MAX) {
    try_later(c->owner);
    return;
  }
  te_buf_add(&c->in, buf->base, (size_t)size);
  char line[LINE_BYTES_MAX];
  // A line may let go of the channel.
  while (c->owner != NULL && next_line(&c->in, line)) {
    take_line(c->owner, line);
  }
}

static void launch(te_embedded *e);

static void on_connect(uv_connect_t *connect, int status) {
  channel *c = connect->data;
  te_embedded *e = c->owner;
  if (e == NULL) return;
  if (status == 0) {
    status =
        uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_supervisor_read);
  }
  if (status == 0) {
    enter(e, WAITING);
    return;
  }
  drop_channel(e);
  if (e->may_launch) {
    launch(e);
  } else {
    try_later(e);
  }
}

// Where the supervisor said that it listens; one that has never run said
// nothing.
static void reach(te_embedded *e) {
  te_instance where;
  te_why why = {""};
  int rc = te_instance_init(&where, e->name, &why);
  if (rc < 0) {
    fail(e, rc, why.text);
    return;
  }
  char *address = te_instance_read_address(&where);
  te_instance_free(&where);
  if (address != NULL) {
    channel *c = make_channel(e);
    uv_pipe_connect(&c->connect, &c->pipe, address, on_connect);
    te_free(address);
    enter(e, CONNECTING);
  } else if (e->may_launch) {
    launch(e);
  } else {
    try_later(e);
  }
}

// ---------------------------------------------------------------- launching

// The new supervisor listens, or it has ended: it may have found another.
static void end_launch(te_embedded *e) {
  channel *c = e->channel;
  char line[LINE_BYTES_MAX];
  bool failed = false;
  while (!failed && next_line(&c->in, line)) {
    failed = take_failure(e, line);
    if (!failed) e->no_program = true;
  }
  if (failed) return;
  drop_channel(e);
  reach(e);
}

static void on_launch_read(uv_stream_t *stream, ssize_t size,
                           const uv_buf_t *buf) {
  channel *c = stream->data;
  if (size > 0) te_buf_add(&c->in, buf->base, (size_t)size);
  if (size < 0 || te_buf_size(&c->in) > LINE_BYTES_MAX) end_launch(c->owner);
}

static int start_supervisor(te_embedded *e, te_why *why) {
  te_instance where;
  int rc = te_instance_init(&where, e->name, why);
  // The supervisor does this too. Here the answer comes at once.
  if (rc == 0) rc = te_instance_make_folders(&where, why);
  te_instance_free(&where);
  if (rc < 0) return rc;
  rc = te_launch_supervisor(e->name, !e->no_program);
  if (rc < 0) {
    return te_why_set(why, rc,
                      "cannot start a process for the embedded "
                      "Redis: %s",
                      te_strerror(rc));
  }
  return rc;
}

static void launch(te_embedded *e) {
  te_why why = {""};
  e->may_launch = false;
  int fd = start_supervisor(e, &why);
  if (fd < 0) {
    fail(e, fd, why.text);
    return;
  }
  channel *c = make_channel(e);
  int rc = uv_pipe_open(&c->pipe, fd);
  assert(rc == 0);  // a pipe it is
  rc = uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_launch_read);
  assert(rc == 0);
  (void)rc;
  e->wake_ms = uv_now(e->loop) + LAUNCH_WAIT_MS;
  enter(e, LAUNCHING);
}

// -------------------------------------------------------------------- time

static void answer_late(te_embedded *e, request *r) {
  te_instance where;
  te_why why = {""};
  if (te_instance_init(&where, e->name, &why) == 0) {
    te_why_set(&why, UV_ETIMEDOUT,
               "the embedded Redis %s did not answer within %" PRIu64
               " ms; its logs are in %s",
               e->name, r->timeout_ms, where.folder);
  }
  te_instance_free(&where);
  answer(r, UV_ETIMEDOUT, NULL, why.text);
}

static request *find_due(te_embedded *e) {
  te_list_each (link, &e->requests) {
    request *r = te_container_of(link, request, link);
    if (e->phase == READY || r->deadline_ms <= uv_now(e->loop)) return r;
  }
  return NULL;
}

// Answering one may change everything, and ask anew: those wait for the next
// turn.
static void answer_due(te_embedded *e) {
  size_t count = 0;
  te_list_each (link, &e->requests)
    count++;
  for (request *r; count > 0 && (r = find_due(e)) != NULL; count--) {
    if (e->phase == READY) {
      answer(r, 0, e->socket, "");
    } else {
      answer_late(e, r);
    }
  }
}

static void on_timer(uv_timer_t *timer) {
  te_embedded *e = timer->data;
  answer_due(e);
  if (e->is_closed) return;
  bool is_due = uv_now(e->loop) >= e->wake_ms;
  if (e->phase == LAUNCHING && is_due) {
    end_launch(e);
  } else if (e->phase == PAUSED && is_due && !is_wanted(e)) {
    enter(e, REST);
  } else if (e->phase == PAUSED && is_due) {
    e->may_launch = true;
    reach(e);
  } else {
    arm(e);
  }
}

// --------------------------------------------------------------------- API

te_embedded *te_embedded_new(uv_loop_t *loop, const char *name) {
  te_embedded *e = te_alloc_zero(1, sizeof(*e));
  e->loop = loop;
  e->name = te_strdup(name);
  te_list_init(&e->requests);
  uv_timer_init(loop, &e->timer);
  e->timer.data = e;
  return e;
}

void te_embedded_ensure(te_embedded *e, uint64_t timeout_ms, te_embedded_cb cb,
                        void *arg) {
  assert(!e->is_closed);
  uv_update_time(e->loop);  // the caller may have computed for a while
  request *r = te_alloc_zero(1, sizeof(*r));
  r->cb = cb;
  r->arg = arg;
  r->timeout_ms = timeout_ms;
  r->deadline_ms = uv_now(e->loop) + timeout_ms;
  te_list_add_last(&e->requests, &r->link);
  if (e->phase == REST || e->phase == PAUSED) {
    e->wake_ms = uv_now(e->loop);
    enter(e, PAUSED);
  } else {
    arm(e);
  }
}

const char *te_embedded_socket(const te_embedded *e) {
  return e->socket;
}

static void on_timer_closed(uv_handle_t *handle) {
  te_embedded *e = handle->data;
  te_free(e->name);
  te_free(e->socket);
  te_free(e);
}

void te_embedded_close(te_embedded *e) {
  if (e->is_closed) return;
  e->is_closed = true;
  drop_channel(e);
  uv_close((uv_handle_t *)&e->timer, on_timer_closed);
  for (te_list *link; (link = te_list_first(&e->requests)) != NULL;) {
    answer(te_container_of(link, request, link), TE_ECLOSED, NULL,
           te_strerror(TE_ECLOSED));
  }
}

int te_embedded_paths(const char *name, char **data_dir, char **socket,
                      te_why *why) {
  te_instance where;
  int rc = te_instance_init(&where, name, why);
  if (rc < 0) return rc;
  *data_dir = te_strdup(where.folder);
  *socket = te_strdup(where.socket);
  te_instance_free(&where);
  return 0;
}

int te_embedded_supervise(const char *name) {
  return te_supervisor_run(name);
}
