#include "child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "clock.h"
#include "frame.h"
#include "list.h"
#include "verdict.h"
#include "wire.h"

#define READ_BYTES   ((size_t)64 * 1024)
// What was gathered goes out when the first task of it began so long ago, or it
// is so much, or nothing is left to do.
#define GATHER_US    500
#define GATHER_BYTES ((size_t)32 * 1024)

// A task that waits for a slot.
typedef struct waiting {
  te_list link;
  te_token token;
  size_t size;
  char envelope[];
} waiting;

struct te_child {
  te_child_events events;
  te_claims *claims;
  unsigned index;
  unsigned concurrency;
  unsigned active;  // begun and not ended, without those that wait
  te_list queue;
  te_frame *frames;
  te_buf out;
  uint64_t since_us;  // of what is in there: when the first task began
  uv_poll_t poll;
  uv_prepare_t prepare;  // begins and sends before the loop sleeps
  int open_handles;
  bool is_starting;  // in start_tasks
  bool is_closing;
  uint64_t *began_us;  // when the task of each claim began
};

/*
 * Blocks when the socket is full: a master that does not read is stopped, and
 * then nothing better can be done than to wait for it.
 */
void te_child_flush(te_child *c) {
  while (te_buf_size(&c->out) > 0) {
    te_slice bytes = te_buf_slice(&c->out);
    ssize_t n = write(TE_WIRE_CHANNEL_FD, bytes.data, bytes.size);
    if (n >= 0) {
      te_buf_consume(&c->out, (size_t)n);
    } else if (errno == EAGAIN) {
      struct pollfd full = {.fd = TE_WIRE_CHANNEL_FD, .events = POLLOUT};
      poll(&full, 1, -1);
    } else if (errno != EINTR) {
      te_buf_clear(&c->out);  // the master is gone
    }
  }
  te_buf_shrink(&c->out);
}

static void send_soon(te_child *c) {
  if (te_buf_size(&c->out) > GATHER_BYTES ||
      te_clock_us() - c->since_us > GATHER_US)
    te_child_flush(c);
}

static void say(te_child *c, const te_wire *w) {
  int rc = te_wire_add(&c->out, w);
  assert(rc == 0);  // records and requests are limited well below a frame
  (void)rc;
}

static void start_tasks(te_child *c) {
  if (c->is_starting) return;  // the outer call goes on
  c->is_starting = true;
  te_list *first;
  while (c->active < c->concurrency &&
         (first = te_list_first(&c->queue)) != NULL) {
    waiting *w = te_container_of(first, waiting, link);
    te_list_remove(first);
    if (te_claims_take(c->claims, w->token)) {
      c->active++;
      c->began_us[w->token.claim] = te_clock_us();
      te_claims_execute(c->claims, c->index, w->token);
      c->events.on_task(c->events.arg, w->token,
                        te_slice_of(w->envelope, w->size));
      te_claims_pause(c->claims, c->index);
      send_soon(c);
    }
    te_free(w);
  }
  c->is_starting = false;
}

void te_child_bequeath(te_child *c, te_token token, te_slice will) {
  te_claims_bequeath(c->claims, token, will);
}

void te_child_done(te_child *c, te_token token, te_slice record) {
  assert(token.claim < TE_CLAIMS_MAX && c->active > 0);
  uint64_t run_us = te_clock_us() - c->began_us[token.claim];
  c->active--;
  bool is_in_claim = te_verdict_leave(c->claims, token, record);
  te_wire w = {.kind = TE_WIRE_DONE, .token = token, .payload = record};
  w.number = run_us > UINT32_MAX ? UINT32_MAX : (uint32_t)run_us;
  if (te_buf_size(&c->out) == 0) c->since_us = c->began_us[token.claim];
  say(c, &w);
  // The next task may compute for long. The master can look into the claim.
  if (!is_in_claim) te_child_flush(c);
  start_tasks(c);
}

void te_child_set_waits(te_child *c, te_token token, bool waits) {
  te_wire w = {.kind = TE_WIRE_WAITS, .token = token, .byte = waits};
  say(c, &w);
  if (!waits) {
    c->active++;
    return;
  }
  assert(c->active > 0);
  c->active--;  // on_prepare begins another: this one has not yielded yet
}

void te_child_state(te_child *c, te_token token, te_slice state) {
  te_wire w = {.kind = TE_WIRE_STATE, .token = token, .payload = state};
  say(c, &w);
  te_child_flush(c);  // what comes next may compute for long
}

void te_child_execute(te_child *c, const te_token *token) {
  if (token == NULL) {
    te_claims_pause(c->claims, c->index);
    return;
  }
  // What ended before, in this turn, does not wait for this one.
  if (te_buf_size(&c->out) > 0) te_child_flush(c);
  te_claims_execute(c->claims, c->index, *token);
}

bool te_child_is_asked(const te_child *c, te_token token) {
  return te_claims_is_asked(c->claims, token);
}

void te_child_loads(te_child *c, te_slice path) {
  te_wire w = {.kind = TE_WIRE_LOADS, .payload = path};
  say(c, &w);
  te_child_flush(c);  // what is in there may never return
}

void te_child_hello(te_child *c, bool is_ready, te_slice hello) {
  te_wire w = {.kind = TE_WIRE_HELLO, .byte = is_ready, .payload = hello};
  say(c, &w);
  te_child_flush(c);
}

void te_child_request(te_child *c, uint32_t request, te_slice payload) {
  te_wire w = {.kind = TE_WIRE_REQUEST, .request = request, .payload = payload};
  say(c, &w);
}

void te_child_log(te_child *c, int level, const te_token *about,
                  te_slice text) {
  te_wire w = {.kind = TE_WIRE_LOG, .byte = (uint8_t)level, .payload = text};
  w.token.claim = TE_CLAIMS_NONE;
  if (about != NULL) w.token = *about;
  say(c, &w);
  // What comes next may hang or crash, and these are the lines that tell of
  // it. The master's clock says when.
  te_child_flush(c);
}

void te_child_set_concurrency(te_child *c, unsigned tasks) {
  c->concurrency = tasks;
}

/* What the master says. */

static void queue_task(te_child *c, te_token token, te_slice envelope) {
  waiting *w = te_alloc(sizeof(*w) + envelope.size);
  te_list_init(&w->link);
  w->token = token;
  w->size = envelope.size;
  memcpy(w->envelope, envelope.data, envelope.size);
  te_list_add_last(&c->queue, &w->link);
}

static int hear(te_child *c, const te_wire *w) {
  const te_child_events *e = &c->events;
  switch (w->kind) {
    case TE_WIRE_TASK: queue_task(c, w->token, w->payload); return 0;
    case TE_WIRE_REPLY:
      e->on_reply(e->arg, w->request, (int)w->number, w->payload);
      return 0;
    case TE_WIRE_CANCEL: e->on_cancel(e->arg, w->token, w->byte != 0); return 0;
    case TE_WIRE_CONFIG: e->on_config(e->arg, w->payload); return 0;
    case TE_WIRE_ITEM: e->on_item(e->arg, w->payload); return 0;
    case TE_WIRE_LINK: e->on_link(e->arg, w->byte != 0); return 0;
    case TE_WIRE_QUIT: e->on_quit(e->arg); return 0;
    case TE_WIRE_LOADS:
    case TE_WIRE_HELLO:
    case TE_WIRE_DONE:
    case TE_WIRE_WAITS:
    case TE_WIRE_STATE:
    case TE_WIRE_REQUEST:
    case TE_WIRE_LOG: break;
  }
  return TE_EPROTO;
}

// 0, or why this is no master of ours.
static int hear_frames(te_child *c) {
  te_slice frame;
  te_wire w;
  int rc = 0;
  while (!c->is_closing && (rc = te_frame_next(c->frames, &frame)) > 0) {
    rc = te_wire_read(frame, &w);
    if (rc == 0) rc = hear(c, &w);
    if (rc < 0) break;
  }
  te_frame_shrink(c->frames);
  return rc;
}

// 0, or negative at the end.
static int read_some(te_child *c) {
  char *at = te_frame_reserve(c->frames, READ_BYTES);
  ssize_t n = read(TE_WIRE_CHANNEL_FD, at, READ_BYTES);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
  if (n == 0) return UV_EOF;
  te_frame_grow(c->frames, (size_t)n);
  return hear_frames(c);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)events;
  te_child *c = poll->data;
  int rc = status < 0 ? status : read_some(c);
  if (c->is_closing) return;
  if (rc < 0) {
    uv_poll_stop(poll);
    c->events.on_quit(c->events.arg);
    return;
  }
  start_tasks(c);
}

static void on_prepare(uv_prepare_t *prepare) {
  te_child *c = prepare->data;
  start_tasks(c);
  if (te_buf_size(&c->out) > 0) te_child_flush(c);
}

static void on_handle_close(uv_handle_t *handle) {
  te_child *c = handle->data;
  if (--c->open_handles > 0) return;
  te_list_each (link, &c->queue)
    te_free(te_container_of(link, waiting, link));
  te_claims_free(c->claims);
  te_frame_free(c->frames);
  te_buf_free(&c->out);
  te_free(c->began_us);
  te_free(c);
}

static int open_descriptors(te_claims **claims) {
  int rc = te_claims_attach(TE_WIRE_CLAIMS_FD, claims);
  if (rc < 0) return rc;
  int flags = fcntl(TE_WIRE_CHANNEL_FD, F_GETFL);
  if (flags < 0 || fcntl(TE_WIRE_CHANNEL_FD, F_SETFL, flags | O_NONBLOCK) < 0 ||
      fcntl(TE_WIRE_CHANNEL_FD, F_SETFD, FD_CLOEXEC) < 0)
    return -errno;
  return 0;
}

static void start_handles(te_child *c, uv_loop_t *loop) {
  uv_prepare_init(loop, &c->prepare);
  c->poll.data = c->prepare.data = c;
  c->open_handles = 2;
  uv_prepare_start(&c->prepare, on_prepare);
  uv_unref((uv_handle_t *)&c->prepare);
  uv_poll_start(&c->poll, UV_READABLE, on_readable);
}

int te_child_new(uv_loop_t *loop, unsigned index, const te_child_events *events,
                 te_child **out) {
  if (index >= TE_CHILDREN_MAX) return UV_EINVAL;
  // Had the master died before this line, the channel would say so.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return -errno;
  te_child *c = te_alloc_zero(1, sizeof(*c));
  int rc = open_descriptors(&c->claims);
  if (rc == 0) rc = uv_poll_init(loop, &c->poll, TE_WIRE_CHANNEL_FD);
  if (rc < 0) {
    te_claims_free(c->claims);
    te_free(c);
    return rc;
  }
  c->events = *events;
  c->index = index;
  c->concurrency = 1;
  c->frames = te_frame_new();
  c->began_us = te_alloc_zero(TE_CLAIMS_MAX, sizeof(*c->began_us));
  te_list_init(&c->queue);
  start_handles(c, loop);
  *out = c;
  return 0;
}

void te_child_free(te_child *c) {
  if (c->is_closing) return;
  c->is_closing = true;
  te_child_flush(c);
  uv_close((uv_handle_t *)&c->poll, on_handle_close);
  uv_close((uv_handle_t *)&c->prepare, on_handle_close);
}
