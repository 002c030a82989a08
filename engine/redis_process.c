#include "redis_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "buf.h"

#define LOG_FILE      "redis.log"
#define LOG_FILE_OLD  "redis.log.old"
#define LOCK_FILE     "redis.lock"
#define LOG_BYTES_MAX (1024L * 1024)

enum {
  LOCK_FD = 3,  // in the server: its first descriptor after the standard ones
  PATH_BYTES_MAX = 4096,
  TAIL_BYTES_MAX = 4096,
  TAIL_LINES_MAX = 2,
};

int te_redis_process_lock(const te_instance *i, te_why *why) {
  char *file = te_instance_file(i, LOCK_FILE);
  int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  int rc = fd;
  if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
    rc = uv_translate_sys_error(errno);
    te_why_set(why, rc, "cannot lock %s: %s", file, te_strerror(rc));
    if (fd >= 0) close(fd);
  }
  te_free(file);
  return rc;
}

// ---------------------------------------------------------------- holders

/*
 * Whether this open file is the lock file and holds its lock; `fd` names it
 * as in /proc/PID/fd/FD. Who has merely opened the file does not count.
 */
static bool holds_lock(const char *pid, const char *fd, const struct stat *is) {
  char path[64];
  struct stat st;
  snprintf(path, sizeof(path), "/proc/%.12s/fd/%.12s", pid, fd);
  if (stat(path, &st) != 0) return false;
  if (st.st_dev != is->st_dev || st.st_ino != is->st_ino) return false;

  snprintf(path, sizeof(path), "/proc/%.12s/fdinfo/%.12s", pid, fd);
  int info = open(path, O_RDONLY | O_CLOEXEC);
  if (info < 0) return false;
  char text[512];
  ssize_t got = read(info, text, sizeof(text) - 1);
  close(info);
  if (got < 0) return false;
  text[got] = '\0';
  return strstr(text, "FLOCK") != NULL;
}

static bool is_holder(const char *pid, const struct stat *lock) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%.12s/fd", pid);
  DIR *fds = opendir(path);  // refused for processes of other users
  if (fds == NULL) return false;
  bool found = false;
  for (struct dirent *d; !found && (d = readdir(fds)) != NULL;) {
    found = d->d_name[0] != '.' && holds_lock(pid, d->d_name, lock);
  }
  closedir(fds);
  return found;
}

void te_redis_process_kill_holders(const te_instance *i) {
  struct stat lock;
  char *file = te_instance_file(i, LOCK_FILE);
  int rc = stat(file, &lock);
  te_free(file);
  DIR *proc = rc == 0 ? opendir("/proc") : NULL;
  if (proc == NULL) return;
  for (struct dirent *d; (d = readdir(proc)) != NULL;) {
    long pid = strtol(d->d_name, NULL, 10);  // 0: no process
    if (pid > 0 && pid != getpid() && is_holder(d->d_name, &lock)) {
      kill((pid_t)pid, SIGKILL);
    }
  }
  closedir(proc);
}

// ------------------------------------------------------------------ start

// The redis-server in PATH; caller frees. NULL when there is none.
static char *find_program(void) {
  const char *path = getenv("PATH");
  if (path == NULL) path = "/usr/local/bin:/usr/bin:/bin";
  char file[PATH_BYTES_MAX];
  while (*path != '\0') {
    size_t size = strcspn(path, ":");
    int made =
        snprintf(file, sizeof(file), "%.*s/redis-server", (int)size, path);
    struct stat st;
    if (made > 0 && (size_t)made < sizeof(file) && file[0] == '/' &&
        access(file, X_OK) == 0 && stat(file, &st) == 0 &&
        S_ISREG(st.st_mode)) {
      return te_strdup(file);
    }
    path += size;
    if (*path == ':') path++;
  }
  return NULL;
}

// name "value", quoted as Redis reads it.
static void add_setting(te_buf *b, const char *name, const char *value) {
  te_buf_addf(b, "%s \"", name);
  for (const char *p = value; *p != '\0'; p++) {
    unsigned char c = (unsigned char)*p;
    if (c < ' ' || c == '"' || c == '\\') {
      te_buf_addf(b, "\\x%02x", c);
    } else {
      te_buf_add(b, p, 1);
    }
  }
  te_buf_add_str(b, "\"\n");
}

static void write_config(const te_instance *i, te_buf *b) {
  te_buf_add_str(b, "port 0\n"
                    "unixsocketperm 600\n"
                    "daemonize no\n"
                    "appendonly yes\n"
                    "appendfsync everysec\n"
                    "aof-use-rdb-preamble yes\n"
                    "save \"\"\n"
                    "maxmemory-policy noeviction\n"
                    "loglevel warning\n"
                    "logfile " LOG_FILE "\n");
  add_setting(b, "unixsocket", i->socket);
  add_setting(b, "dir", i->folder);
}

/*
 * The server outlives who started it, so it gets of that one's environment
 * only what a program needs to run. LD_PRELOAD above all is not meant for it.
 */
static char **make_environment(void) {
  static const char *const names[] = {"PATH",   "HOME", "LANG",
                                      "LC_ALL", "TZ",   "LD_LIBRARY_PATH"};
  size_t max = sizeof(names) / sizeof(names[0]), count = 0;
  char **env = te_alloc_zero(max + 1, sizeof(*env));
  for (size_t n = 0; n < max; n++) {
    const char *value = getenv(names[n]);
    if (value == NULL) continue;
    size_t size = strlen(names[n]) + strlen(value) + 2;
    env[count] = te_alloc(size);
    snprintf(env[count++], size, "%s=%s", names[n], value);
  }
  return env;
}

static void free_environment(char **env) {
  for (char **e = env; *e != NULL; e++)
    te_free(*e);
  te_free(env);
}

// Appends; a log that has grown too long is put aside first.
static int open_log(const te_instance *i, off_t *size) {
  struct stat st;
  char *file = te_instance_file(i, LOG_FILE);
  if (stat(file, &st) == 0 && st.st_size > LOG_BYTES_MAX) {
    char *old = te_instance_file(i, LOG_FILE_OLD);
    rename(file, old);  // if it cannot be, the log goes on growing
    te_free(old);
  }
  int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  int rc = fd < 0 ? uv_translate_sys_error(errno) : fd;
  *size = fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0;
  te_free(file);
  return rc;
}

// 0, or why not all of it went into the pipe at once.
static int fill_pipe(int fd, te_slice text) {
  ssize_t wrote = write(fd, text.data, text.size);
  if (wrote < 0) return uv_translate_sys_error(errno);
  return (size_t)wrote == text.size ? 0 : UV_E2BIG;
}

// The read end of a pipe that holds the whole configuration. Two paths and ten
// lines: nobody would read what it has no room for, so that is not waited for.
static int open_config(const te_instance *i) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
    return uv_translate_sys_error(errno);
  te_buf config;
  te_buf_init(&config);
  write_config(i, &config);
  int rc = fill_pipe(ends[1], te_buf_slice(&config));
  te_buf_free(&config);
  close(ends[1]);
  if (rc == 0) return ends[0];
  close(ends[0]);
  return rc;
}

typedef struct order {
  char *program;
  char **environment;
  pid_t supervisor;
  int config, log, lock;
} order;

// In the new process. No handler of the supervisor may swallow the signal
// that tells of its death, so that goes first.
static _Noreturn void become_server(const order *o) {
  static const int mine[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE};
  for (size_t n = 0; n < sizeof(mine) / sizeof(mine[0]); n++) {
    signal(mine[n], SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != o->supervisor) _exit(0);  // it died before the prctl

  // Duplicates above all that is aimed at, so that none lands on another.
  int config = fcntl(o->config, F_DUPFD_CLOEXEC, LOCK_FD + 1);
  int log = fcntl(o->log, F_DUPFD_CLOEXEC, LOCK_FD + 1);
  int lock = fcntl(o->lock, F_DUPFD_CLOEXEC, LOCK_FD + 1);
  if (dup2(config, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 ||
      dup2(lock, LOCK_FD) < 0) {
    _exit(126);
  }
  if (ftruncate(LOCK_FD, 0) == 0) dprintf(LOCK_FD, "%d\n", (int)getpid());
  char name[] = "redis-server", from_stdin[] = "-";
  char *argv[] = {name, from_stdin, NULL};
  execve(o->program, argv, o->environment);
  dprintf(2, "cannot run %s: %s\n", o->program, strerror(errno));
  _exit(127);
}

static int spawn(const te_instance *i, order *o, te_why *why) {
  // What a killed server left; nobody listens there, for we hold the lock.
  unlink(i->socket);
  // Not fork, which would have libuv close in the new process what it had
  // open in the program that we were forked from: numbers that are ours now.
  pid_t pid = _Fork();
  if (pid == 0) become_server(o);
  if (pid > 0) return pid;
  int rc = uv_translate_sys_error(errno);
  return te_why_set(why, rc, "cannot start a process for %s: %s", o->program,
                    te_strerror(rc));
}

int te_redis_process_spawn(const te_instance *i, int lock, off_t *log_start,
                           te_why *why) {
  char *program = find_program();
  if (program == NULL) {
    return te_why_set(why, TE_ENOSERVER,
                      "redis-server is not installed: apt install "
                      "redis-server");
  }
  order o = {.program = program, .lock = lock, .supervisor = getpid()};
  o.log = open_log(i, log_start);
  o.config = open_config(i);
  int rc;
  if (o.log < 0) {
    rc = te_why_set(why, o.log, "cannot write to the folder %s: %s", i->folder,
                    te_strerror(o.log));
  } else if (o.config < 0) {
    rc = te_why_set(why, o.config, "cannot tell redis-server its settings: %s",
                    te_strerror(o.config));
  } else {
    o.environment = make_environment();
    rc = spawn(i, &o, why);
    free_environment(o.environment);
  }
  if (o.log >= 0) close(o.log);
  if (o.config >= 0) close(o.config);
  te_free(program);
  return rc;
}

// -------------------------------------------------------------------- why

// "8:M 01 Jan 2026 00:00:00.000 # text" is "text"; other lines stay.
static te_slice strip_stamp(te_slice line) {
  const char *mark = memmem(line.data, line.size, " # ", 3);
  if (mark == NULL) return line;
  size_t skip = (size_t)(mark - line.data) + 3;
  return te_slice_of(line.data + skip, line.size - skip);
}

// What every start writes, among it advice on the system's settings.
static bool is_noise(te_slice line) {
  static const char *const usual[] = {
      "Reading config from stdin", "Redis is starting",  "Redis version=",
      "Configuration loaded",      "Server initialized", "WARNING"};
  for (size_t n = 0; n < sizeof(usual) / sizeof(usual[0]); n++) {
    if (memmem(line.data, line.size, usual[n], strlen(usual[n]))) return true;
  }
  return line.size == 0;
}

// The last lines of `text` that tell something, in their order.
static size_t last_lines(te_slice text, te_slice lines[TAIL_LINES_MAX]) {
  size_t count = 0;
  while (count < TAIL_LINES_MAX && text.size > 0) {
    const char *nl = memrchr(text.data, '\n', text.size);
    size_t start = nl == NULL ? 0 : (size_t)(nl - text.data) + 1;
    te_slice line = te_slice_of(text.data + start, text.size - start);
    text.size = nl == NULL ? 0 : start - 1;
    line = strip_stamp(line);
    if (is_noise(line)) continue;
    memmove(lines + 1, lines, (TAIL_LINES_MAX - 1) * sizeof(*lines));
    lines[0] = line;
    count++;
  }
  return count;
}

static size_t read_tail(const te_instance *i, off_t from,
                        char text[TAIL_BYTES_MAX]) {
  char *file = te_instance_file(i, LOG_FILE);
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  te_free(file);
  if (fd < 0) return 0;
  off_t end = lseek(fd, 0, SEEK_END);
  if (end - from > TAIL_BYTES_MAX) from = end - TAIL_BYTES_MAX;
  ssize_t got = pread(fd, text, TAIL_BYTES_MAX, from);
  close(fd);
  return got < 0 ? 0 : (size_t)got;
}

// On a full disk not even the log says so.
static bool is_disk_full(const char *folder) {
  struct statvfs fs;
  return statvfs(folder, &fs) == 0 && fs.f_bavail == 0;
}

int te_redis_process_explain(const te_instance *i, off_t log_start, int status,
                             te_why *why) {
  char text[TAIL_BYTES_MAX];
  te_slice lines[TAIL_LINES_MAX] = {{0}};
  size_t size = read_tail(i, log_start, text);
  last_lines(te_slice_of(text, size), lines);
  bool killed = WIFSIGNALED(status);
  return te_why_set(
      why, TE_EDOWN, "redis-server on %s ended (%s %d%s) %.*s%s%.*s", i->folder,
      killed ? "signal" : "exit code",
      killed ? WTERMSIG(status) : WEXITSTATUS(status),
      is_disk_full(i->folder) ? ", the disk is full" : "", (int)lines[0].size,
      lines[0].data == NULL ? "" : lines[0].data, lines[1].size > 0 ? "; " : "",
      (int)lines[1].size, lines[1].data == NULL ? "" : lines[1].data);
}
