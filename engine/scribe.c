#include "scribe.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

#include "buf.h"

// As much again may be on its way.
#define QUEUE_BYTES_MAX (TE_SCRIBE_BYTES_MAX / 2)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t has_work;
static pthread_cond_t is_idle;
static pthread_t thread;
static bool is_running;  // the caller's: the thread is there
// Under the mutex:
static te_buf queue;
static bool is_full;  // until the thread has taken what waits
static bool is_writing;
static bool is_ending;

/* Writing. */

static bool is_of_kind(mode_t kind) {
  struct stat st;
  return fstat(STDERR_FILENO, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

static ssize_t write_some(te_slice bytes) {
  for (;;) {
    ssize_t n = write(STDERR_FILENO, bytes.data, bytes.size);
    if (n > 0) return n;
    if (n == 0) return -EIO;  // a device that takes nothing, and says no more
    if (errno == EAGAIN) {    // whoever shares it made it non-blocking
      struct pollfd writable = {.fd = STDERR_FILENO, .events = POLLOUT};
      poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return -errno;
    }
  }
}

// As many whole lines as a pipe takes in one piece, between which nobody
// else can write; of a longer line, a part.
static size_t span_of_lines(te_slice bytes) {
  if (bytes.size <= PIPE_BUF) return bytes.size;
  const char *end = memrchr(bytes.data, '\n', PIPE_BUF);
  return end == NULL ? PIPE_BUF : (size_t)(end + 1 - bytes.data);
}

static void skip(te_slice *lines, size_t size) {
  lines->data += size;
  lines->size -= size;
}

static int write_all(te_slice *lines, char *last) {
  bool is_pipe = is_of_kind(S_IFIFO);
  while (lines->size > 0) {
    te_slice piece = *lines;
    if (is_pipe) piece.size = span_of_lines(piece);
    ssize_t n = write_some(piece);
    if (n < 0) return (int)n;
    *last = lines->data[n - 1];
    skip(lines, (size_t)n);
  }
  return 0;
}

// A log that cannot be written is no reason to stop.
int te_scribe_write(te_slice *lines) {
  static char last = '\n';  // that a disk had room for
  te_slice end = te_slice_str("\n");
  int rc = last == '\n' ? 0 : write_all(&end, &last);
  if (rc == 0) rc = write_all(lines, &last);
  // Of a line that lacks nothing but its end, that comes with the next one.
  if (lines->size > 0 && lines->data[0] == '\n') skip(lines, 1);
  return rc;
}

/* The thread. */

static void *run(void *arg) {
  te_buf taken;
  te_buf_init(&taken);
  pthread_mutex_lock(&mutex);
  for (;;) {
    while (te_buf_size(&queue) == 0 && !is_ending)
      pthread_cond_wait(&has_work, &mutex);
    if (te_buf_size(&queue) == 0) break;
    te_buf rest = taken;
    taken = queue;
    queue = rest;
    is_full = false;
    is_writing = true;
    pthread_mutex_unlock(&mutex);
    te_slice lines = te_buf_slice(&taken);
    te_scribe_write(&lines);
    te_buf_clear(&taken);
    pthread_mutex_lock(&mutex);
    is_writing = false;
    if (te_buf_size(&queue) == 0) pthread_cond_signal(&is_idle);
  }
  pthread_mutex_unlock(&mutex);
  te_buf_free(&taken);
  return arg;
}

static void make_conditions(void) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&is_idle, &monotonic);
  pthread_cond_init(&has_work, NULL);
  pthread_condattr_destroy(&monotonic);
}

static void drop_conditions(void) {
  pthread_cond_destroy(&is_idle);
  pthread_cond_destroy(&has_work);
}

// False when the system has no thread to give.
static bool start(void) {
  make_conditions();
  // Signals are the loop's; SIGPIPE would be nobody's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  is_running = pthread_create(&thread, NULL, run, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!is_running) drop_conditions();
  return is_running;
}

/* The caller's side. */

int te_scribe_add(te_slice *lines) {
  if (!is_running && (is_of_kind(S_IFREG) || !start()))
    return te_scribe_write(lines);
  pthread_mutex_lock(&mutex);
  size_t waiting = te_buf_size(&queue);
  bool is_taken = !is_full && lines->size <= QUEUE_BYTES_MAX - waiting;
  if (is_taken) te_buf_add_slice(&queue, *lines);
  // Nothing may slip in behind what found no room. Where nothing waits the
  // thread has no reason to say that there is room again.
  is_full = !is_taken && waiting > 0;
  pthread_cond_signal(&has_work);
  pthread_mutex_unlock(&mutex);
  return is_taken ? 0 : UV_ENOBUFS;
}

static struct timespec after(unsigned ms) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_sec += ms / 1000;
  t.tv_nsec += ms % 1000 * 1000000L;
  if (t.tv_nsec >= 1000000000L) {
    t.tv_nsec -= 1000000000L;
    t.tv_sec++;
  }
  return t;
}

// Under the mutex. Whether nothing waits.
static bool settle(unsigned limit_ms) {
  struct timespec limit = after(limit_ms);
  int rc = 0;
  while ((te_buf_size(&queue) > 0 || is_writing) && rc == 0)
    rc = pthread_cond_timedwait(&is_idle, &mutex, &limit);
  return te_buf_size(&queue) == 0 && !is_writing;
}

void te_scribe_settle(unsigned limit_ms) {
  if (!is_running) return;
  pthread_mutex_lock(&mutex);
  settle(limit_ms);
  pthread_mutex_unlock(&mutex);
}

void te_scribe_stop(unsigned limit_ms) {
  if (!is_running) return;
  pthread_mutex_lock(&mutex);
  bool is_settled = settle(limit_ms);
  is_ending = true;
  pthread_cond_signal(&has_work);
  pthread_mutex_unlock(&mutex);
  if (!is_settled) return;  // the end of the process is its end
  pthread_join(thread, NULL);
  drop_conditions();
  is_running = is_ending = false;
  te_buf_free(&queue);
}

void te_scribe_forget(void) {
  static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
  mutex = unlocked;  // the thread may have held it, and waits in the conditions
  is_running = is_full = is_writing = is_ending = false;
  te_buf_init(&queue);
}
