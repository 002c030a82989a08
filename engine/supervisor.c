#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "clock.h"
#include "instance.h"
#include "log.h"
#include "redis_server.h"
#include "users.h"

#define LOG_FILE "supervisor.log"

enum {
  LOG_BYTES_MAX = 256 * 1024,
  LINGER_MS = 10000,
  LINGER_MS_MAX = 24 * 3600 * 1000,
  FIRST_USER_MS = 10000,  // who started it has so long to connect
  CHECK_MS = 2000,        // how often it looks whether it can be found
};

typedef struct supervisor {
  te_instance where;
  int lock;
  te_users *users;
  te_redis_server *server;
  te_server_state state;  // as the users were last told
  uint64_t linger_ms;
  uint64_t alone_until_ms;  // without a user, stop the server then
  uint64_t check_ms;        // when to look whether we can be found
  bool is_ending;           // told to end: lets no one in
  struct pollfd *polls;
  size_t polls_cap;
} supervisor;

// ---------------------------------------------------------------- signals

// A signal only interrupts ppoll, outside of which it is blocked.
static volatile sig_atomic_t end_asked;

static void on_end_signal(int number) {
  (void)number;
  end_asked = 1;
}

static void on_child_signal(int number) {
  (void)number;
}

static void catch_signals(void) {
  struct sigaction end = {.sa_handler = on_end_signal};
  struct sigaction child = {.sa_handler = on_child_signal};
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGINT);
  sigaddset(&blocked, SIGHUP);
  sigaddset(&blocked, SIGCHLD);
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  sigaction(SIGTERM, &end, NULL);
  sigaction(SIGINT, &end, NULL);
  sigaction(SIGHUP, &end, NULL);
  sigaction(SIGCHLD, &child, NULL);
  sigaction(SIGPIPE, &ignore, NULL);
}

// -------------------------------------------------------------------- log

// Before each line: when there are too many, nobody reads the old ones, and a
// full disk would be worse.
static void bound_log(void) {
  struct stat st;
  if (fstat(STDERR_FILENO, &st) != 0 || st.st_size <= LOG_BYTES_MAX) return;
  if (ftruncate(STDERR_FILENO, 0) != 0) te_log_set_level(TE_LOG_OFF);
}

#define LOG(...) (bound_log(), te_log(TE_LOG_INFO, __VA_ARGS__))

// From here on stderr is our log. Whoever started us and reads our stderr
// sees its end and knows that we listen.
static void open_log(const supervisor *s) {
  te_log_forget();  // after a mere fork it is as the parent's program set it
  char *file = te_instance_file(&s->where, LOG_FILE);
  int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  te_free(file);
  if (fd < 0) fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  dup2(fd, STDERR_FILENO);
  if (fd != STDERR_FILENO) close(fd);
}

// ------------------------------------------------------------------ begin

// 0, UV_EAGAIN when another supervisor runs, or another code.
static int take_lock(supervisor *s, te_why *why) {
  char *file = te_instance_file(&s->where, TE_INSTANCE_LOCK);
  s->lock = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  int rc = 0;
  if (s->lock < 0 || flock(s->lock, LOCK_EX | LOCK_NB) != 0) {
    rc = uv_translate_sys_error(errno);
    te_why_set(why, rc, "cannot lock %s: %s", file, te_strerror(rc));
  }
  te_free(file);
  return rc;
}

static uint64_t linger_ms(void) {
  const char *value = getenv(TE_SUPERVISOR_LINGER_ENV);
  if (value == NULL) return LINGER_MS;
  char *end;
  double seconds = strtod(value, &end);
  // Also false for what is no number at all, NaN included.
  bool is_good = end != value && *end == '\0' && seconds >= 0 &&
                 seconds <= LINGER_MS_MAX / 1000.0;
  return is_good ? (uint64_t)(seconds * 1000) : LINGER_MS;
}

// One descriptor for each user, and the server inherits the limit.
static void raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static int begin(supervisor *s, const char *name, te_why *why) {
  umask(077);
  int rc = te_instance_init(&s->where, name, why);
  if (rc == 0) rc = te_instance_make_folders(&s->where, why);
  if (rc == 0) rc = take_lock(s, why);
  if (rc < 0) return rc;
  s->users = te_users_new(s->where.control, &rc, why);
  if (rc < 0) return rc;
  rc = te_instance_write_address(&s->where, s->lock);
  if (rc < 0) {
    return te_why_set(why, rc, "cannot write to the folder %s: %s",
                      s->where.folder, te_strerror(rc));
  }
  s->server = te_redis_server_new(&s->where);
  s->linger_ms = linger_ms();
  raise_descriptor_limit();
  return 0;
}

// Every field may still be empty.
static void finish(supervisor *s) {
  te_users_free(s->users);
  te_redis_server_free(s->server);
  te_instance_free(&s->where);
  te_free(s->polls);
  if (s->lock >= 0) close(s->lock);
}

// -------------------------------------------------------------------- run

// The line that tells a new user how things stand; NULL for none. Borrowed
// until the next call.
static const char *greeting(const supervisor *s) {
  static char line[sizeof(te_why) + 32];
  if (s->state == TE_SERVER_READY) {
    snprintf(line, sizeof(line), "ready %s\n", s->where.socket);
  } else if (s->state == TE_SERVER_FAILED) {
    const char *why;
    int code = te_redis_server_why(s->server, &why);
    snprintf(line, sizeof(line), "failed %d %s\n", code, why);
  } else {
    return NULL;
  }
  return line;
}

static void announce(supervisor *s) {
  switch (s->state) {
    case TE_SERVER_READY:
      LOG("redis-server answers on %s", s->where.socket);
      te_users_tell(s->users, greeting(s));
      break;
    case TE_SERVER_FAILED: {
      const char *why;
      te_redis_server_why(s->server, &why);
      LOG("%s", why);
      te_users_tell(s->users, greeting(s));
      break;
    }
    case TE_SERVER_PAUSED: {
      const char *why;
      te_redis_server_why(s->server, &why);
      LOG("%s", why);
      te_users_tell(s->users, "wait\n");
      break;
    }
    case TE_SERVER_OFF:
    case TE_SERVER_LOCKING:
    case TE_SERVER_STARTING:
    case TE_SERVER_STOPPING: break;
  }
}

/*
 * A supervisor whose socket or lock file was removed (a logout removes the
 * runtime folder) can be found by nobody any more. It ends, its users see
 * that and start another one, in a place that exists.
 */
static bool can_be_found(const supervisor *s) {
  struct stat named, held;
  char *file = te_instance_file(&s->where, TE_INSTANCE_LOCK);
  bool same = stat(file, &named) == 0 && fstat(s->lock, &held) == 0 &&
              named.st_dev == held.st_dev && named.st_ino == held.st_ino;
  te_free(file);
  return same && te_users_can_be_found(s->users) &&
         (s->state != TE_SERVER_READY || access(s->where.socket, F_OK) == 0);
}

static void end_soon(supervisor *s, const char *why) {
  LOG("%s: ending", why);
  s->is_ending = true;
  te_users_close_listener(s->users);
  te_users_tell(s->users, "wait\n");
}

static void check(supervisor *s, uint64_t now) {
  if (s->is_ending) return;
  if (end_asked) {
    end_soon(s, "got a signal");
  } else if (now >= s->check_ms) {
    s->check_ms = now + CHECK_MS;
    if (!can_be_found(s)) end_soon(s, "a socket or the lock file is gone");
  }
}

// Starts or stops the server as the users want. False: nothing is left to do.
static bool decide(supervisor *s, uint64_t now) {
  bool has_users = te_users_count(s->users) > 0;
  bool wanted = !s->is_ending && (has_users || now < s->alone_until_ms);
  // Not before somebody was told: who started us is still to come.
  if (s->state == TE_SERVER_FAILED) return wanted && !has_users;
  if (s->state == TE_SERVER_OFF) {
    if (!wanted) return false;
    te_redis_server_start(s->server);
  } else if (!wanted) {
    te_redis_server_stop(s->server);
  }
  return true;
}

static int sooner(int a_ms, uint64_t at, uint64_t now) {
  int b_ms = at <= now ? 0 : (int)(at - now);
  return a_ms < 0 || b_ms < a_ms ? b_ms : a_ms;
}

// Until something happens or the next thing is due. Leaves in s->polls what
// the users' sockets have.
static void wait_for_events(supervisor *s, uint64_t now) {
  size_t needed = te_users_count(s->users) + 2;
  if (s->polls_cap < needed) {
    s->polls_cap = 2 * needed;
    s->polls = te_realloc(s->polls, s->polls_cap * sizeof(*s->polls));
  }
  size_t count = te_users_fill_poll(s->users, s->polls);
  s->polls[count++] = (struct pollfd){
      .fd = te_redis_server_fd(s->server),  // -1 is passed over
      .events = POLLIN,
  };
  int pause_ms = te_redis_server_pause_ms(s->server);
  if (!s->is_ending) {
    pause_ms = sooner(pause_ms, s->check_ms, now);
    if (te_users_count(s->users) == 0 && s->state != TE_SERVER_STOPPING) {
      pause_ms = sooner(pause_ms, s->alone_until_ms, now);
    }
  }
  struct timespec timeout = {pause_ms / 1000, pause_ms % 1000 * 1000000L};
  sigset_t none;
  sigemptyset(&none);
  // Interrupted, it leaves revents as they are: 0.
  ppoll(s->polls, count, pause_ms < 0 ? NULL : &timeout, &none);
}

static void step(supervisor *s, uint64_t now) {
  te_server_state before = s->state;
  s->state = te_redis_server_step(s->server);
  bool is_news = s->state != before;  // then all are told, the new ones too
  bool had_users = te_users_count(s->users) > 0;
  te_users_step(s->users, s->polls, is_news ? NULL : greeting(s));
  if (had_users || te_users_count(s->users) > 0) {
    s->alone_until_ms = now + s->linger_ms;
  }
  if (is_news) announce(s);
}

static void run(supervisor *s) {
  uint64_t now = te_clock_ms();
  s->check_ms = now + CHECK_MS;
  s->alone_until_ms =
      now + (s->linger_ms > FIRST_USER_MS ? s->linger_ms : FIRST_USER_MS);
  while (decide(s, now)) {
    wait_for_events(s, now);
    now = te_clock_ms();
    step(s, now);
    check(s, now);
  }
}

int te_supervisor_run(const char *name) {
  supervisor s = {.lock = -1};
  te_why why = {""};
  prctl(PR_SET_NAME, "te-supervisor");  // what ps and top show
  catch_signals();
  int rc = begin(&s, name, &why);
  if (rc == UV_EAGAIN) {
    finish(&s);
    return 0;
  }
  if (rc < 0) {
    dprintf(STDERR_FILENO, "failed %d %s\n", rc, why.text);
    finish(&s);
    return 1;
  }
  open_log(&s);
  LOG("supervisor %d begins", (int)getpid());
  if (chdir(s.where.folder) != 0) LOG("cannot enter %s", s.where.folder);
  run(&s);
  LOG("supervisor %d ends", (int)getpid());
  rc = s.state == TE_SERVER_FAILED;
  finish(&s);
  return rc;
}
