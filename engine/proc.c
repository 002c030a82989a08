#include "proc.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "frame.h"
#include "stray.h"
#include "wire.h"

#define READ_BYTES       ((size_t)64 * 1024)
// Of what is gathered, and of what the socket has not taken yet.
#define UNSENT_BYTES_MAX ((size_t)256 * 1024 * 1024)

struct te_proc {
  te_proc_events events;
  uv_process_t process;
  uv_pipe_t channel;
  uv_prepare_t prepare;  // sends what a turn of the loop has gathered
  uv_write_t write;
  te_frame *frames;
  te_buf out;      // gathered
  te_buf sending;  // under way
  bool is_sending;
  bool is_faulty;  // nothing more is read
  bool is_freed;
  int open_handles;
};

static void release(te_proc *p) {
  if (p->open_handles > 0 || !p->is_freed) return;
  te_frame_free(p->frames);
  te_buf_free(&p->out);
  te_buf_free(&p->sending);
  te_free(p);
}

static void on_handle_close(uv_handle_t *handle) {
  te_proc *p = handle->data;
  p->open_handles--;
  release(p);
}

static void close_handle(uv_handle_t *handle) {
  if (!uv_is_closing(handle)) uv_close(handle, on_handle_close);
}

static void fault(te_proc *p, int code) {
  if (p->is_faulty) return;
  p->is_faulty = true;
  uv_read_stop((uv_stream_t *)&p->channel);
  p->events.on_fault(p->events.arg, code);
}

static void hand_out_frames(te_proc *p) {
  te_slice frame;
  int rc = 0;
  while (!p->is_faulty && (rc = te_frame_next(p->frames, &frame)) > 0) {
    rc = p->events.on_frame(p->events.arg, frame);
    if (rc < 0) break;
  }
  te_frame_shrink(p->frames);
  if (rc < 0) fault(p, rc);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  te_proc *p = handle->data;
  *buf = uv_buf_init(te_frame_reserve(p->frames, READ_BYTES), READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  te_proc *p = stream->data;
  if (n > 0) {
    te_frame_grow(p->frames, (size_t)n);
    hand_out_frames(p);
  } else if (n < 0) {
    fault(p, (int)n);  // it is ending, or has closed the channel: no child
  }
}

static void send_gathered(te_proc *p);

static void on_written(uv_write_t *write, int status) {
  te_proc *p = write->data;
  p->is_sending = false;
  te_buf_clear(&p->sending);
  te_buf_shrink(&p->sending);
  if (status == 0 && te_buf_size(&p->out) > 0) send_gathered(p);
}

static uv_buf_t all_of(const te_buf *b) {
  return uv_buf_init(b->data + b->start, (unsigned)te_buf_size(b));
}

// What a dead child does not read is of no use to anybody.
static void send_gathered(te_proc *p) {
  uv_stream_t *stream = (uv_stream_t *)&p->channel;
  if (p->is_sending || uv_is_closing((uv_handle_t *)stream)) return;
  uv_buf_t buf = all_of(&p->out);
  int n = uv_try_write(stream, &buf, 1);
  if (n >= 0) te_buf_consume(&p->out, (size_t)n);
  if (n < 0 && n != UV_EAGAIN) return te_buf_clear(&p->out);
  if (te_buf_size(&p->out) == 0) return te_buf_shrink(&p->out);

  te_buf rest = p->out;
  p->out = p->sending;
  p->sending = rest;
  buf = all_of(&p->sending);
  p->is_sending = uv_write(&p->write, stream, &buf, 1, on_written) == 0;
  if (!p->is_sending) te_buf_clear(&p->sending);
}

static void on_prepare(uv_prepare_t *prepare) {
  te_proc *p = prepare->data;
  uv_prepare_stop(prepare);
  send_gathered(p);
}

/*
 * The process is gone; what it wrote last may still be in the socket. Its own
 * children may hold the other end open, and write to it for ever: no more is
 * read than there is now.
 */
static void read_rest(te_proc *p) {
  uv_os_fd_t fd;
  int left;
  if (uv_fileno((uv_handle_t *)&p->channel, &fd) < 0) return;
  if (ioctl(fd, FIONREAD, &left) < 0) return;
  while (left > 0 && !p->is_faulty) {
    char *at = te_frame_reserve(p->frames, READ_BYTES);
    ssize_t n = read(fd, at, READ_BYTES);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    te_frame_grow(p->frames, (size_t)n);
    hand_out_frames(p);
    left -= (int)n;
  }
}

static void describe_end(char *why, size_t size, int64_t status, int signal) {
  if (signal != 0) {
    snprintf(why, size, "killed by signal %d (%s)", signal, strsignal(signal));
  } else {
    snprintf(why, size, "exited with status %d", (int)status);
  }
}

static void on_child_exit(uv_process_t *process, int64_t status, int signal) {
  te_proc *p = process->data;
  close_handle((uv_handle_t *)process);  // its pid may be another's now
  uv_read_stop((uv_stream_t *)&p->channel);
  read_rest(p);
  close_handle((uv_handle_t *)&p->channel);
  close_handle((uv_handle_t *)&p->prepare);
  char why[96];
  describe_end(why, sizeof(why), status, signal);
  p->events.on_end(p->events.arg, why);
}

static void init_handles(te_proc *p, uv_loop_t *loop) {
  uv_pipe_init(loop, &p->channel, 0);
  uv_prepare_init(loop, &p->prepare);
  p->channel.data = p->prepare.data = p->process.data = p->write.data = p;
  p->open_handles = 3;  // uv_spawn makes the process one even if it fails
}

static int spawn(te_proc *p, uv_loop_t *loop, const te_proc_options *o) {
  uv_stdio_container_t stdio[5] = {
      {.flags = UV_IGNORE},
      // Not our stdout: under `taskengine run` that is the script's.
      {.flags = UV_INHERIT_FD, .data.fd = te_stray_fd()},
      {.flags = UV_INHERIT_FD, .data.fd = te_stray_fd()},
      {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE,
       .data.stream = (uv_stream_t *)&p->channel},
      {.flags = UV_INHERIT_FD, .data.fd = o->claims_fd},
  };
  static_assert(TE_WIRE_CHANNEL_FD == 3, "the order of stdio");
  static_assert(TE_WIRE_CLAIMS_FD == 4, "the order of stdio");
  uv_process_options_t options = {
      .file = o->file,
      .args = o->args,
      .exit_cb = on_child_exit,
      .stdio = stdio,
      .stdio_count = 5,
  };
  return uv_spawn(loop, &p->process, &options);
}

int te_proc_new(uv_loop_t *loop, const te_proc_options *options,
                const te_proc_events *events, te_proc **out) {
  te_proc *p = te_alloc_zero(1, sizeof(*p));
  p->events = *events;
  p->frames = te_frame_new();
  init_handles(p, loop);
  int rc = spawn(p, loop, options);
  if (rc == 0) {
    rc = uv_read_start((uv_stream_t *)&p->channel, on_alloc, on_read);
    assert(rc == 0);
    *out = p;
    return 0;
  }
  p->is_freed = true;
  close_handle((uv_handle_t *)&p->process);
  close_handle((uv_handle_t *)&p->channel);
  close_handle((uv_handle_t *)&p->prepare);
  return rc;
}

te_buf *te_proc_out(te_proc *p) {
  return &p->out;
}

static size_t count_unsent(const te_proc *p) {
  const uv_stream_t *stream = (const uv_stream_t *)&p->channel;
  return te_buf_size(&p->out) + uv_stream_get_write_queue_size(stream);
}

void te_proc_flush(te_proc *p) {
  if (uv_is_closing((uv_handle_t *)&p->prepare)) return;
  if (count_unsent(p) > UNSENT_BYTES_MAX) return fault(p, UV_ENOBUFS);
  if (te_buf_size(&p->out) >= READ_BYTES) {
    send_gathered(p);
  } else {
    uv_prepare_start(&p->prepare, on_prepare);
  }
}

int te_proc_pid(const te_proc *p) {
  return p->process.pid;
}

void te_proc_kill(te_proc *p, int signal) {
  if (!uv_is_closing((uv_handle_t *)&p->process))
    uv_process_kill(&p->process, signal);
}

void te_proc_free(te_proc *p) {
  p->is_freed = true;
  release(p);
}
