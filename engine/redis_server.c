#include "redis_server.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "clock.h"
#include "redis_process.h"

enum {
  // A server whose supervisor died ends by itself, usually within a few
  // milliseconds; one that does not is killed.
  LOCK_WAIT_MS = 3000,
  LOCK_STEP_MS = 10,
  STOP_WAIT_MS = 10000,
  PROBE_STEP_MS = 5,
  LOADING_STEP_MS = 50,
  SHORT_STEPS = 20,  // little data is loaded in no time
  STARTS_MAX = 3,    // in a row, of a server that ends before it answers
  PAUSE_MS_MIN = 50,
  PAUSE_MS_MAX = 5000,
  STEADY_MS = 10000,  // one that answered for so long starts with no debts
};

struct te_redis_server {
  const te_instance *where;
  te_server_state state;
  pid_t pid;            // 0: no process
  int probe;            // the connection that asks whether it answers, or -1
  bool is_asked;        // PING was sent on it
  int refusals;         // STARTING: answers that were no PONG
  uint64_t due_ms;      // when the next step of this state is due
  uint64_t give_up_ms;  // LOCKING: when the holders are killed
  uint64_t ready_ms;    // READY: since when
  off_t log_start;
  int starts;  // in a row, that ended before an answer
  int deaths;  // in a row, each after a short life
  int code;
  te_why why;
};

te_redis_server *te_redis_server_new(const te_instance *i) {
  te_redis_server *s = te_alloc_zero(1, sizeof(*s));
  s->where = i;
  s->probe = -1;
  return s;
}

static void close_probe(te_redis_server *s) {
  if (s->probe >= 0) close(s->probe);
  s->probe = -1;
  s->is_asked = false;
}

void te_redis_server_free(te_redis_server *s) {
  if (s == NULL) return;
  assert(s->pid == 0);
  close_probe(s);
  te_free(s);
}

int te_redis_server_fd(const te_redis_server *s) {
  return s->is_asked ? s->probe : -1;
}

int te_redis_server_why(const te_redis_server *s, const char **why) {
  *why = s->why.text;
  return s->code;
}

int te_redis_server_pause_ms(const te_redis_server *s) {
  switch (s->state) {
    case TE_SERVER_OFF:
    case TE_SERVER_READY:
    case TE_SERVER_FAILED: return -1;
    case TE_SERVER_LOCKING:
    case TE_SERVER_STARTING:
    case TE_SERVER_PAUSED:
    case TE_SERVER_STOPPING: break;
  }
  uint64_t now = te_clock_ms();
  return s->due_ms <= now ? 0 : (int)(s->due_ms - now);
}

static void enter(te_redis_server *s, te_server_state state, uint64_t in_ms) {
  s->state = state;
  s->due_ms = te_clock_ms() + in_ms;
}

static void begin(te_redis_server *s) {
  enter(s, TE_SERVER_LOCKING, 0);
  s->give_up_ms = s->due_ms + LOCK_WAIT_MS;
}

void te_redis_server_start(te_redis_server *s) {
  assert(s->state == TE_SERVER_OFF);
  s->starts = s->deaths = 0;
  begin(s);
}

void te_redis_server_stop(te_redis_server *s) {
  if (s->state == TE_SERVER_STOPPING || s->state == TE_SERVER_FAILED) return;
  close_probe(s);
  if (s->pid > 0) kill(s->pid, SIGTERM);
  enter(s, TE_SERVER_STOPPING, s->pid > 0 ? STOP_WAIT_MS : 0);
}

static void fail(te_redis_server *s, int code) {
  s->code = code;
  s->state = TE_SERVER_FAILED;
}

static void step_locking(te_redis_server *s) {
  int lock = te_redis_process_lock(s->where, &s->why);
  if (lock == UV_EAGAIN) {
    uint64_t now = te_clock_ms();
    if (now >= s->give_up_ms) {
      te_redis_process_kill_holders(s->where);
      s->give_up_ms = now + LOCK_WAIT_MS;
    }
    s->due_ms = now + LOCK_STEP_MS;
    return;
  }
  if (lock < 0) {
    fail(s, lock);
    return;
  }
  int pid = te_redis_process_spawn(s->where, lock, &s->log_start, &s->why);
  close(lock);  // from here on the server alone holds it
  if (pid < 0) {
    fail(s, pid);
    return;
  }
  s->pid = pid;
  s->refusals = 0;
  enter(s, TE_SERVER_STARTING, PROBE_STEP_MS);
}

// Connects and asks; false when nobody listens yet.
static bool ask(te_redis_server *s) {
  static const char ping[] = "PING\r\n";
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof(to.sun_path), "%s", s->where->socket);
  s->probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s->probe < 0) return false;
  ssize_t sent = -1;
  if (connect(s->probe, (struct sockaddr *)&to, sizeof(to)) == 0) {
    sent = send(s->probe, ping, sizeof(ping) - 1, MSG_NOSIGNAL);
  }
  if (sent < 0) close_probe(s);
  s->is_asked = sent >= 0;
  return s->is_asked;
}

/*
 * A server that loads its data listens and answers -LOADING. One that does
 * not answer at all is left to its users' patience: a long load of a big
 * append-only file must not be cut off.
 */
static void step_starting(te_redis_server *s) {
  static const char pong[] = "+PONG\r\n";
  char reply[sizeof(pong) - 1];
  if (s->probe < 0 && !ask(s)) {
    enter(s, TE_SERVER_STARTING, PROBE_STEP_MS);
    return;
  }
  ssize_t got = recv(s->probe, reply, sizeof(reply), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    enter(s, TE_SERVER_STARTING, LOADING_STEP_MS);  // te_redis_server_fd wakes
    return;
  }
  close_probe(s);
  if (got == sizeof(reply) && memcmp(reply, pong, sizeof(reply)) == 0) {
    s->state = TE_SERVER_READY;
    s->ready_ms = te_clock_ms();
    s->starts = 0;
    return;
  }
  bool is_short = s->refusals++ < SHORT_STEPS;
  enter(s, TE_SERVER_STARTING, is_short ? PROBE_STEP_MS : LOADING_STEP_MS);
}

static uint64_t pause_after(int failures) {
  if (failures == 0) return 0;
  int doublings = failures > 10 ? 10 : failures - 1;
  uint64_t pause = (uint64_t)PAUSE_MS_MIN << doublings;
  return pause > PAUSE_MS_MAX ? PAUSE_MS_MAX : pause;
}

// The server's process is gone, by our doing or by itself.
static void on_gone(te_redis_server *s, int status) {
  te_server_state before = s->state;
  s->pid = 0;
  close_probe(s);
  if (before == TE_SERVER_STOPPING) {
    s->state = TE_SERVER_OFF;
    return;
  }
  s->code = te_redis_process_explain(s->where, s->log_start, status, &s->why);
  if (before == TE_SERVER_STARTING && ++s->starts == STARTS_MAX) {
    s->state = TE_SERVER_FAILED;
    return;
  }
  bool steady =
      before == TE_SERVER_READY && te_clock_ms() - s->ready_ms >= STEADY_MS;
  uint64_t pause = steady ? 0 : pause_after(s->deaths + s->starts);
  s->deaths = steady ? 0 : s->deaths + (before == TE_SERVER_READY);
  enter(s, TE_SERVER_PAUSED, pause);
}

static void step_stopping(te_redis_server *s) {
  if (s->pid == 0) {
    s->state = TE_SERVER_OFF;
    return;
  }
  kill(s->pid, SIGKILL);
  enter(s, TE_SERVER_STOPPING, STOP_WAIT_MS);
}

te_server_state te_redis_server_step(te_redis_server *s) {
  int status;
  if (s->pid > 0 && waitpid(s->pid, &status, WNOHANG) == s->pid) {
    on_gone(s, status);
    return s->state;  // the owner is to see that it PAUSED
  }
  if (s->state == TE_SERVER_STARTING && s->is_asked) {
    step_starting(s);
    return s->state;
  }
  if (te_redis_server_pause_ms(s) != 0) return s->state;
  switch (s->state) {
    case TE_SERVER_LOCKING: step_locking(s); break;
    case TE_SERVER_STARTING: step_starting(s); break;
    case TE_SERVER_PAUSED: begin(s); break;
    case TE_SERVER_STOPPING: step_stopping(s); break;
    case TE_SERVER_OFF:
    case TE_SERVER_READY:
    case TE_SERVER_FAILED: break;
  }
  return s->state;
}
