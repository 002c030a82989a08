#include "stream.h"

#include <assert.h>
#include <string.h>
#include <sys/un.h>

#include "resolve.h"

#define READ_BYTES  ((size_t)64 * 1024)
#define KEEPALIVE_S 60

struct te_stream {
  uv_loop_t *loop;
  te_stream_events on;
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } socket;
  uv_timer_t timer;  // until connected
  uv_connect_t connect;
  uv_write_t write;
  te_resolve *resolve;         // while the name is looked up
  struct addrinfo *addresses;  // of the name; NULL for a literal
  struct addrinfo *next;       // the one to try when this fails
  char *read_buffer;
  te_buf out;            // what the caller appends to
  te_buf writing;        // what libuv holds
  int held;              // handles and requests that libuv has not given back
  int status;            // why the latest attempt failed
  uint64_t deadline_ms;  // when all attempts have to be over
  bool is_tcp;
  bool is_socket_open;
  bool is_connected;
  bool is_writing;
  bool is_deaf;  // a write failed
  bool is_closing;
};

// Frees the stream when libuv has given back the last that it held of it.
static void release(te_stream *s) {
  assert(s->held > 0);
  if (--s->held > 0) return;
  s->on.on_close(s->on.arg);
  if (s->addresses != NULL) freeaddrinfo(s->addresses);
  te_free(s->read_buffer);
  te_buf_free(&s->out);
  te_buf_free(&s->writing);
  te_free(s);
}

te_stream *te_stream_new(uv_loop_t *loop, const te_stream_events *events) {
  te_stream *s = te_alloc_zero(1, sizeof(*s));
  s->loop = loop;
  s->on = *events;
  s->read_buffer = te_alloc(READ_BYTES);
  uv_timer_init(loop, &s->timer);
  s->timer.data = s;
  s->held = 1;
  return s;
}

static void on_timer_closed(uv_handle_t *handle) {
  release(handle->data);
}

static void report_connect(te_stream *s, int status) {
  uv_timer_stop(&s->timer);
  s->on.on_connect(s->on.arg, status);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
  te_stream *s = handle->data;
  (void)suggested;
  *out = uv_buf_init(s->read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *handle, ssize_t size, const uv_buf_t *buf) {
  te_stream *s = handle->data;
  if (size > 0) s->on.on_data(s->on.arg, te_slice_of(buf->base, (size_t)size));
  if (size < 0) s->on.on_lost(s->on.arg, (int)size);
}

static void start_connect(te_stream *s);

// One attempt is over for good: the next address, or the end.
static void on_attempt_closed(uv_handle_t *handle) {
  te_stream *s = handle->data;
  s->is_socket_open = false;
  if (!s->is_closing && s->next != NULL) {
    start_connect(s);
  } else if (!s->is_closing) {
    report_connect(s, s->status);
  }
  release(s);
}

/*
 * A socket on which a connect failed cannot be used again. Closing it is
 * asynchronous, so that an outcome never comes before the call that asked
 * for it has returned.
 */
static void end_attempt(te_stream *s, int status) {
  s->status = status;
  if (!uv_is_closing(&s->socket.handle)) {
    uv_close(&s->socket.handle, on_attempt_closed);
  }
}

static void on_connected(uv_connect_t *connect, int status) {
  te_stream *s = connect->data;
  if (uv_is_closing(&s->socket.handle)) return;
  if (status == 0) {
    if (s->is_tcp) {
      // Best effort: a connection without them works too.
      uv_tcp_nodelay(&s->socket.tcp, 1);
      uv_tcp_keepalive(&s->socket.tcp, 1, KEEPALIVE_S);
    }
    status = uv_read_start(&s->socket.stream, on_alloc, on_read);
  }
  if (status < 0) {
    end_attempt(s, status);
    return;
  }
  s->is_connected = true;
  report_connect(s, 0);
}

static void open_socket(te_stream *s) {
  if (s->is_tcp) {
    uv_tcp_init(s->loop, &s->socket.tcp);
  } else {
    uv_pipe_init(s->loop, &s->socket.pipe, 0);
  }
  s->socket.handle.data = s;
  s->connect.data = s;
  s->is_socket_open = true;
  s->held++;
}

static void connect_address(te_stream *s, const struct sockaddr *address) {
  open_socket(s);
  int rc = uv_tcp_connect(&s->connect, &s->socket.tcp, address, on_connected);
  if (rc < 0) end_attempt(s, rc);
}

static void stop_resolving(te_stream *s) {
  if (s->resolve != NULL) te_resolve_cancel(s->resolve);
  s->resolve = NULL;
}

// That of a socket goes out when it has been closed.
static void on_timeout(uv_timer_t *timer) {
  te_stream *s = timer->data;
  if (s->resolve != NULL) {
    stop_resolving(s);
    report_connect(s, UV_ETIMEDOUT);
  } else {
    end_attempt(s, UV_ETIMEDOUT);
  }
}

static void start_timer(te_stream *s, uint64_t timeout_ms) {
  // The loop's time is old when a program has computed for a while.
  uv_update_time(s->loop);
  s->deadline_ms = uv_now(s->loop) + timeout_ms;
  uv_timer_start(&s->timer, on_timeout, timeout_ms, 0);
}

// An address that never answers must leave time for those behind it.
static void share_time(te_stream *s) {
  uint64_t now = uv_now(s->loop);
  uint64_t left = s->deadline_ms > now ? s->deadline_ms - now : 0;
  uint64_t addresses = 1;
  for (const struct addrinfo *a = s->next->ai_next; a != NULL; a = a->ai_next)
    addresses++;
  uv_timer_start(&s->timer, on_timeout, left / addresses, 0);
}

static void start_connect(te_stream *s) {
  const struct addrinfo *address = s->next;
  share_time(s);
  s->next = address->ai_next;
  connect_address(s, address->ai_addr);
}

static void on_resolved(void *arg, int status, struct addrinfo *addresses) {
  te_stream *s = arg;
  s->resolve = NULL;
  s->addresses = s->next = addresses;
  if (status == 0) {
    start_connect(s);
  } else {
    report_connect(s, status);
  }
}

void te_stream_connect_tcp(te_stream *s, const char *host, int port,
                           uint64_t timeout_ms) {
  assert(!s->is_socket_open && !s->is_closing);
  struct sockaddr_in ipv4;
  struct sockaddr_in6 ipv6;
  s->is_tcp = true;
  start_timer(s, timeout_ms);
  if (uv_ip4_addr(host, port, &ipv4) == 0) {
    connect_address(s, (const struct sockaddr *)&ipv4);
  } else if (uv_ip6_addr(host, port, &ipv6) == 0) {
    connect_address(s, (const struct sockaddr *)&ipv6);
  } else {
    s->resolve = te_resolve_start(s->loop, host, port, on_resolved, s);
    if (s->resolve == NULL) {  // by way of a socket: the call returns first
      open_socket(s);
      end_attempt(s, UV_EAGAIN);
    }
  }
}

void te_stream_connect_unix(te_stream *s, const char *path,
                            uint64_t timeout_ms) {
  assert(!s->is_socket_open && !s->is_closing);
  struct sockaddr_un address;
  start_timer(s, timeout_ms);
  open_socket(s);
  // libuv would cut it short and connect to somebody else.
  if (strlen(path) >= sizeof(address.sun_path)) {
    end_attempt(s, UV_ENAMETOOLONG);
    return;
  }
  uv_pipe_connect(&s->connect, &s->socket.pipe, path, on_connected);
}

te_buf *te_stream_out(te_stream *s) {
  return &s->out;
}

/*
 * A peer that takes no more may have said why before it hung up: reading goes
 * on, and finds the end behind that.
 */
static void on_written(uv_write_t *write, int status) {
  te_stream *s = write->data;
  s->is_writing = false;
  te_buf_clear(&s->writing);
  te_buf_shrink(&s->writing);
  if (status < 0) {
    s->is_deaf = true;
  } else {
    te_stream_flush(s);
  }
}

static uv_buf_t bytes_of(te_buf *b) {
  uv_buf_t bytes = {.base = b->data + b->start, .len = te_buf_size(b)};
  return bytes;
}

void te_stream_flush(te_stream *s) {
  bool may_write = s->is_connected && !s->is_deaf && !s->is_closing;
  if (!may_write || s->is_writing || te_buf_size(&s->out) == 0) return;

  uv_buf_t bytes = bytes_of(&s->out);
  int written = uv_try_write(&s->socket.stream, &bytes, 1);
  if (written > 0) te_buf_consume(&s->out, (size_t)written);
  if (te_buf_size(&s->out) == 0) return te_buf_shrink(&s->out);

  // What the socket did not take, and any error, comes to on_written.
  te_buf rest = s->out;
  s->out = s->writing;
  s->writing = rest;
  bytes = bytes_of(&s->writing);
  s->write.data = s;
  s->is_writing = true;
  int rc = uv_write(&s->write, &s->socket.stream, &bytes, 1, on_written);
  assert(rc == 0);
  (void)rc;
}

void te_stream_close(te_stream *s) {
  if (s->is_closing) return;
  s->is_closing = true;
  stop_resolving(s);
  uv_close((uv_handle_t *)&s->timer, on_timer_closed);
  if (s->is_socket_open && !uv_is_closing(&s->socket.handle)) {
    uv_close(&s->socket.handle, on_attempt_closed);
  }
}
