#include "redis.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "greet.h"
#include "pace.h"
#include "pipeline.h"
#include "stream.h"

#define TIMEOUT_MS_DEFAULT 5000
#define WHY_BYTES_MAX      640
// Up for so long, a loss is news and not one more failure to connect.
#define STEADY_MS          1000
// Up for so long, the server was there: what came before is over.
#define USEFUL_MS          100
/*
 * A program that has computed past a deadline finds the reply in its socket
 * only after the loop has run its timers: one more look before giving up.
 */
#define LAST_LOOK_MS       10

typedef enum phase {
  PHASE_NEW,
  PHASE_PAUSING,     // the timer ends it
  PHASE_PREPARING,   // te_redis_ready ends it
  PHASE_CONNECTING,  // the stream ends it
  PHASE_GREETING,    // the last reply of greet.h ends it
  PHASE_UP,
  PHASE_CLOSED,
} phase;

struct te_redis {
  uv_loop_t *loop;
  te_redis_options o;
  te_url url;
  char *socket;  // that prepare told; NULL: go by the URL
  char *place;
  char *client_name;
  char *library_probe;
  te_greet *greet;
  te_resp *resp;
  te_pipeline *pipeline;
  te_stream *stream;  // NULL unless connecting or connected
  uv_timer_t timer;
  uv_idle_t turn;  // runs once, before the loop waits: sends and fails
  int held;        // handles and streams that libuv has not given back

  phase phase;
  bool is_suspect;         // silent for too long, one look is left
  bool is_unstamped;       // since_ms is to be set when the commands go out
  unsigned failures;       // attempts in a row
  uint64_t away_since_ms;  // the first of them, or the loss before
  uint64_t since_ms;  // silence began: bytes came, or the first call went out
  uint64_t due_ms;    // of the timer
  uint64_t up_ms;
  int code;
  char why[WHY_BYTES_MAX];
  void (*close_cb)(void *arg);
  void *close_arg;
};

static void release(te_redis *r) {
  assert(r->held > 0);
  if (--r->held > 0) return;
  assert(r->phase == PHASE_CLOSED);
  te_pipeline_close(r->pipeline);
  if (r->close_cb != NULL) r->close_cb(r->close_arg);
  te_greet_free(r->greet);
  te_resp_free(r->resp);
  te_url_free(&r->url);
  te_free(r->socket);
  te_free(r->place);
  te_free(r->client_name);
  te_free(r->library_probe);
  te_free(r);
}

static void on_handle_closed(uv_handle_t *handle) {
  release(handle->data);
}

static void on_timer(uv_timer_t *timer);

static void set_timer(te_redis *r, uint64_t due_ms) {
  uint64_t now = uv_now(r->loop);
  r->due_ms = due_ms;
  uv_timer_start(&r->timer, on_timer, due_ms > now ? due_ms - now : 0, 0);
}

// When something has to have come; with nothing due, when a PING goes out.
static uint64_t silence_ends_ms(const te_redis *r) {
  uint64_t block_ms;
  uint64_t timeout_ms = r->o.timeout_ms;
  switch (te_pipeline_first(r->pipeline, &block_ms)) {
    case TE_CALL_NONE: return r->since_ms + te_pace_ping_ms(timeout_ms);
    case TE_CALL_PING: return r->since_ms + te_pace_pong_ms(timeout_ms);
    case TE_CALL_USER:
    case TE_CALL_GREET: break;
  }
  return r->since_ms + timeout_ms + block_ms;
}

// A timer that goes off too early looks again, so it is only ever hastened.
static void hasten_timer(te_redis *r) {
  uint64_t due = silence_ends_ms(r);
  if (!uv_is_active((uv_handle_t *)&r->timer) || due < r->due_ms) {
    set_timer(r, due);
  }
}

static void plan_attempt(te_redis *r) {
  uint32_t chance;
  te_random(&chance, sizeof(chance));
  r->phase = PHASE_PAUSING;
  uv_update_time(r->loop);
  uint64_t now = uv_now(r->loop);
  uint64_t away_ms = now - r->away_since_ms;
  set_timer(r, now + te_pace_reconnect_ms(r->failures, away_ms,
                                          r->o.pause_ms_max, chance));
}

static bool is_fatal(int code) {
  return code == TE_EAUTH || code == TE_EVERSION || code == TE_ENOSERVER ||
         code == UV_EACCES || code == UV_EPERM || code == UV_ENAMETOOLONG;
}

// Ends the connection or the attempt, tells everybody and plans the next.
__attribute__((format(printf, 3, 4))) static void
drop(te_redis *r, int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(r->why, sizeof(r->why), format, args);
  va_end(args);
  r->code = code;
  uint64_t now = uv_now(r->loop);
  uint64_t up_for_ms = r->phase == PHASE_UP ? now - r->up_ms : 0;
  r->failures = up_for_ms >= STEADY_MS ? 0 : r->failures + 1;
  if (up_for_ms >= USEFUL_MS) r->away_since_ms = now;
  if (r->stream != NULL) te_stream_close(r->stream);
  r->stream = NULL;
  r->is_suspect = r->is_unstamped = false;
  plan_attempt(r);

  te_pipeline_lose(r->pipeline);
  if (r->phase != PHASE_CLOSED && r->o.on_down != NULL) {
    r->o.on_down(r->o.arg, r, code, r->why, is_fatal(code));
  }
}

static void on_turn(uv_idle_t *turn) {
  te_redis *r = turn->data;
  uv_idle_stop(turn);
  if (r->stream != NULL) te_stream_flush(r->stream);
  if (r->is_unstamped) {
    r->is_unstamped = false;
    r->since_ms = uv_now(r->loop);
    hasten_timer(r);
  }
  te_pipeline_tell_failed(r->pipeline);
}

// Before a command is added: was the connection at rest?
static void stamp(te_redis *r) {
  uint64_t block_ms;
  if (te_pipeline_first(r->pipeline, &block_ms) == TE_CALL_NONE) {
    r->is_unstamped = true;
  }
}

static void wake(te_redis *r) {
  if (r->phase != PHASE_CLOSED) uv_idle_start(&r->turn, on_turn);
}

static void ping(te_redis *r) {
  te_buf *out = te_stream_out(r->stream);
  stamp(r);
  te_resp_add_array(out, 1);
  te_resp_add_string(out, te_slice_str("PING"));
  te_pipeline_add_own(r->pipeline, TE_CALL_PING);
  wake(r);
}

static void check_silence(te_redis *r) {
  uint64_t block_ms;
  uint64_t now = uv_now(r->loop);
  if (r->is_unstamped) {  // goes out in this turn: silence has not begun
    set_timer(r, now + LAST_LOOK_MS);
  } else if (now < silence_ends_ms(r)) {
    set_timer(r, silence_ends_ms(r));
  } else if (te_pipeline_first(r->pipeline, &block_ms) == TE_CALL_NONE) {
    ping(r);
  } else if (!r->is_suspect) {
    r->is_suspect = true;
    set_timer(r, now + LAST_LOOK_MS);
  } else {
    drop(r, UV_ETIMEDOUT, "Redis at %s has not answered for %llu ms", r->place,
         (unsigned long long)(now - r->since_ms));
  }
}

static void start_greeting(te_redis *r) {
  stamp(r);
  te_pipeline_add_own(r->pipeline, TE_CALL_GREET);
  wake(r);
}

// The server lost its functions: what it refused goes again, behind them.
static void declare(te_redis *r) {
  if (te_pipeline_is_held(r->pipeline)) return;
  te_pipeline_hold(r->pipeline);
  te_greet_declare(r->greet, te_stream_out(r->stream));
  start_greeting(r);
}

static void come_up(te_redis *r) {
  r->phase = PHASE_UP;
  r->up_ms = uv_now(r->loop);
  r->code = 0;
  r->why[0] = '\0';
  if (r->o.on_up != NULL) r->o.on_up(r->o.arg, r);
}

static void take_greeting(te_redis *r, const te_reply *reply) {
  te_buf *out = te_stream_out(r->stream);
  int rc = te_greet_reply(r->greet, reply, out);
  wake(r);
  if (rc == 0) return;
  if (rc < 0) {
    drop(r, rc, "%s", te_greet_why(r->greet));
    return;
  }
  te_pipeline_take_own(r->pipeline);
  if (r->phase == PHASE_GREETING) {
    come_up(r);
  } else {
    stamp(r);
    te_pipeline_resume(r->pipeline, out);
  }
}

static void take_reply(te_redis *r, const te_reply *reply) {
  uint64_t block_ms;
  te_stream *stream = r->stream;
  bool is_replica = te_reply_is_error(reply, "READONLY");
  switch (te_pipeline_first(r->pipeline, &block_ms)) {
    case TE_CALL_NONE:
      drop(r, TE_EPROTO, "Redis at %s sent what nobody had asked for",
           r->place);
      return;
    case TE_CALL_GREET: take_greeting(r, reply); return;
    case TE_CALL_PING: te_pipeline_take_own(r->pipeline); return;
    case TE_CALL_USER:
      if (te_pipeline_take_reply(r->pipeline, reply)) declare(r);
      break;
  }
  // A master that was made a replica keeps its clients; another may be it now.
  if (is_replica && r->stream == stream) {
    drop(r, TE_EDOWN, "Redis at %s has become a read-only replica", r->place);
  }
}

static void on_data(void *arg, te_slice bytes) {
  te_redis *r = arg;
  te_stream *stream = r->stream;
  const te_reply *reply;
  int rc;
  r->since_ms = uv_now(r->loop);
  r->is_suspect = false;
  te_resp_feed(r->resp, bytes);
  while ((rc = te_resp_next(r->resp, &reply)) > 0) {
    take_reply(r, reply);
    if (r->stream != stream) return;  // a callback closed it, or it failed
  }
  if (rc < 0) {
    drop(r, rc, "what Redis at %s sent cannot be read: %s", r->place,
         te_strerror(rc));
    return;
  }
  hasten_timer(r);
}

static void on_connect(void *arg, int status) {
  te_redis *r = arg;
  if (status < 0) {
    drop(r, status, "cannot connect to Redis at %s: %s", r->place,
         te_strerror(status));
    return;
  }
  r->phase = PHASE_GREETING;
  te_greet_start(r->greet, te_stream_out(r->stream));
  start_greeting(r);
}

static void on_lost(void *arg, int status) {
  te_redis *r = arg;
  drop(r, status, "lost the connection to Redis at %s: %s", r->place,
       te_strerror(status));
}

static void on_stream_closed(void *arg) {
  release(arg);
}

static void open_stream(te_redis *r) {
  te_stream_events events = {
      .on_connect = on_connect,
      .on_data = on_data,
      .on_lost = on_lost,
      .on_close = on_stream_closed,
      .arg = r,
  };
  r->phase = PHASE_CONNECTING;
  te_resp_free(r->resp);
  r->resp = te_resp_new();
  r->stream = te_stream_new(r->loop, &events);
  r->held++;
  const char *path = r->socket != NULL ? r->socket : r->url.path;
  if (path != NULL) {
    te_stream_connect_unix(r->stream, path, r->o.timeout_ms);
  } else {
    te_stream_connect_tcp(r->stream, r->url.host, r->url.port, r->o.timeout_ms);
  }
}

static void prepare(te_redis *r) {
  r->phase = PHASE_PREPARING;
  if (r->o.prepare != NULL) {
    r->o.prepare(r->o.arg, r);
  } else {
    open_stream(r);
  }
}

static void on_timer(uv_timer_t *timer) {
  te_redis *r = timer->data;
  if (r->phase == PHASE_PAUSING) {
    prepare(r);
  } else if (r->phase == PHASE_GREETING || r->phase == PHASE_UP) {
    check_silence(r);
  }
}

static char *copy(const char *text) {
  return text == NULL ? NULL : te_strdup(text);
}

te_redis *te_redis_new(uv_loop_t *loop, const te_redis_options *options) {
  assert(options->url->scheme != TE_SCHEME_EMBEDDED ||
         options->prepare != NULL);
  te_redis *r = te_alloc_zero(1, sizeof(*r));
  r->loop = loop;
  r->o = *options;
  if (r->o.timeout_ms == 0) r->o.timeout_ms = TIMEOUT_MS_DEFAULT;
  te_url_copy(&r->url, options->url);
  r->place = te_url_place(&r->url);
  r->client_name = copy(options->client_name);
  r->library_probe = copy(options->library_probe);
  te_greet_options greet = {
      .url = &r->url,
      .place = r->place,
      .client_name = r->client_name,
      .library_code = options->library_code,
      .library_probe = r->library_probe,
      .library_build = options->library_build,
  };
  r->greet = te_greet_new(&greet);
  r->pipeline = te_pipeline_new(options->library_code != NULL);
  r->code = TE_EDOWN;
  snprintf(r->why, sizeof(r->why), "no answer from Redis at %s yet", r->place);
  uv_timer_init(loop, &r->timer);
  uv_idle_init(loop, &r->turn);
  r->timer.data = r->turn.data = r;
  r->held = 2;
  return r;
}

void te_redis_start(te_redis *r) {
  if (r->phase != PHASE_NEW) return;
  uv_update_time(r->loop);
  r->away_since_ms = uv_now(r->loop);
  plan_attempt(r);
}

void te_redis_ready(te_redis *r, int status, const char *socket,
                    const char *why) {
  if (r->phase != PHASE_PREPARING) return;
  if (status < 0) {
    drop(r, status, "%s", why != NULL ? why : te_strerror(status));
    return;
  }
  assert(socket != NULL || r->url.scheme != TE_SCHEME_EMBEDDED);
  if (socket != NULL) {
    te_free(r->socket);
    r->socket = te_strdup(socket);
  }
  open_stream(r);
}

void te_redis_hurry(te_redis *r) {
  if (r->phase == PHASE_PAUSING) set_timer(r, uv_now(r->loop));
}

bool te_redis_is_up(const te_redis *r) {
  return r->phase == PHASE_UP;
}

int te_redis_why(const te_redis *r, const char **why) {
  *why = r->why;
  return r->code;
}

void te_redis_call_blocking(te_redis *r, const te_slice *argv, size_t argc,
                            uint64_t block_ms, te_redis_reply_cb cb,
                            void *arg) {
  te_redis_begin(r, argc);
  for (size_t i = 0; i < argc; i++)
    te_redis_add(r, argv[i]);
  te_redis_end(r, block_ms, cb, arg);
}

void te_redis_begin(te_redis *r, size_t argc) {
  bool is_up = r->phase == PHASE_UP;
  if (is_up) stamp(r);
  te_pipeline_begin(r->pipeline, is_up ? te_stream_out(r->stream) : NULL, argc);
}

void te_redis_add(te_redis *r, te_slice arg) {
  te_pipeline_add(r->pipeline, arg);
}

void te_redis_end(te_redis *r, uint64_t block_ms, te_redis_reply_cb cb,
                  void *arg) {
  int status = r->phase == PHASE_CLOSED ? TE_ECLOSED : TE_EDOWN;
  te_pipeline_end(r->pipeline, block_ms, status, cb, arg);
  wake(r);
}

void te_redis_flush(te_redis *r) {
  if (r->stream != NULL) te_stream_flush(r->stream);
}

void te_redis_close(te_redis *r, void (*cb)(void *arg), void *arg) {
  if (r->phase == PHASE_CLOSED) return;
  r->phase = PHASE_CLOSED;
  r->close_cb = cb;
  r->close_arg = arg;
  if (r->stream != NULL) te_stream_close(r->stream);
  r->stream = NULL;
  uv_close((uv_handle_t *)&r->timer, on_handle_closed);
  uv_close((uv_handle_t *)&r->turn, on_handle_closed);
}
