#include "stray.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "log.h"

#define LAST_BYTES_MAX ((size_t)1024 * 1024)  // who still writes may not end

static uv_pipe_t reader;
static int writer = STDERR_FILENO;
static bool is_open;  // until the loop has let go of the reader
static te_buf rest;   // of a line that has no end yet
static char chunk[64 * 1024];

static void log_line(te_slice line) {
  if (line.size > 0 && line.data[line.size - 1] == '\r') line.size--;
  te_log_always(TE_LOG_INFO, NULL, line);
}

static void log_rest(void) {
  if (te_buf_size(&rest) > 0) log_line(te_buf_slice(&rest));
  te_buf_clear(&rest);
}

static void take(te_slice bytes) {
  const char *end;
  while (bytes.size > 0 &&
         (end = memchr(bytes.data, '\n', bytes.size)) != NULL) {
    size_t size = (size_t)(end - bytes.data);
    te_buf_add(&rest, bytes.data, size);
    log_line(te_buf_slice(&rest));
    te_buf_clear(&rest);
    bytes = te_slice_of(end + 1, bytes.size - size - 1);
  }
  te_buf_add_slice(&rest, bytes);
  if (te_buf_size(&rest) >= TE_LOG_TEXT_BYTES_MAX) log_rest();
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out) {
  (void)handle;
  (void)size;
  *out = uv_buf_init(chunk, sizeof(chunk));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  // No end of file while the writer is ours; what else fails ends it.
  if (n < 0) uv_read_stop(stream);
  if (n > 0) take(te_slice_of(buf->base, (size_t)n));
}

int te_stray_start(uv_loop_t *loop) {
  if (is_open) return UV_EBUSY;
  uv_file fds[2];
  int rc = uv_pipe(fds, UV_NONBLOCK_PIPE, 0);
  if (rc < 0) return rc;
  te_buf_init(&rest);
  uv_pipe_init(loop, &reader, 0);
  is_open = true;
  rc = uv_pipe_open(&reader, fds[0]);
  assert(rc == 0);
  uv_read_start((uv_stream_t *)&reader, on_alloc, on_read);
  uv_unref((uv_handle_t *)&reader);
  writer = fds[1];
  return 0;
}

int te_stray_fd(void) {
  return writer;
}

static void on_closed(uv_handle_t *handle) {
  (void)handle;
  is_open = false;
}

void te_stray_stop(void) {
  if (writer == STDERR_FILENO) return;
  close(writer);
  writer = STDERR_FILENO;
  uv_os_fd_t fd;
  int rc = uv_fileno((uv_handle_t *)&reader, &fd);
  for (size_t total = 0; rc == 0 && total < LAST_BYTES_MAX;) {
    ssize_t n = read(fd, chunk, sizeof(chunk));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    take(te_slice_of(chunk, (size_t)n));
    total += (size_t)n;
  }
  log_rest();
  te_buf_free(&rest);
  uv_close((uv_handle_t *)&reader, on_closed);
}
