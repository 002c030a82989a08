#include "launch.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "log.h"
#include "supervisor.h"

#define PROGRAM_ENV "TASKENGINE_PROGRAM"

enum { PATH_BYTES_MAX = 4096, DESCRIPTORS_MAX = 65536 };

// /proc/self/exe when that is the program: it stays so when the file is
// replaced meanwhile.
static char *find_running_program(void) {
  char path[PATH_BYTES_MAX];
  ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
  if (size <= 0) return NULL;
  path[size] = '\0';
  const char *base = strrchr(path, '/');
  bool is_it = base != NULL && (strcmp(base, "/taskengine") == 0 ||
                                strcmp(base, "/taskengine (deleted)") == 0);
  return is_it ? te_strdup("/proc/self/exe") : NULL;
}

// The program that belongs to this core.so.
static char *find_neighbour(void) {
  static const char *const places[] = {
      "../../taskengine",           // build/lib/taskengine/core.so
      "../../../../bin/taskengine"  // /usr/local/lib/lua/5.4/taskengine/...
  };
  Dl_info info;
  char path[PATH_BYTES_MAX];
  if (dladdr(places, &info) == 0 || info.dli_fname == NULL) return NULL;
  const char *slash = strrchr(info.dli_fname, '/');
  int folder = slash == NULL ? 0 : (int)(slash - info.dli_fname) + 1;
  for (size_t n = 0; n < sizeof(places) / sizeof(places[0]); n++) {
    int size = snprintf(path, sizeof(path), "%.*s%s", folder, info.dli_fname,
                        places[n]);
    if (size > 0 && (size_t)size < sizeof(path) && access(path, X_OK) == 0) {
      return te_strdup(path);
    }
  }
  return NULL;
}

// Caller frees; NULL when there is none.
static char *find_program(void) {
  const char *named = getenv(PROGRAM_ENV);
  if (named != NULL) return named[0] == '\0' ? NULL : te_strdup(named);
  char *program = find_running_program();
  return program != NULL ? program : find_neighbour();
}

static void close_from(unsigned first) {
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
  long max = sysconf(_SC_OPEN_MAX);  // a kernel before 5.9
  if (max < 0 || max > DESCRIPTORS_MAX) max = DESCRIPTORS_MAX;
  for (int fd = (int)first; fd < max; fd++)
    close(fd);
}

// stdin and stdout lead nowhere, stderr to whoever started us.
static void set_descriptors(int say) {
  say = fcntl(say, F_DUPFD, STDERR_FILENO + 1);
  int null = open("/dev/null", O_RDWR);
  if (say < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
      dup2(null, STDOUT_FILENO) < 0 || dup2(say, STDERR_FILENO) < 0) {
    _exit(1);
  }
  close_from(STDERR_FILENO + 1);
}

// No handler of the program that we were may run any more.
static void reset_signals(void) {
  struct sigaction usual = {.sa_handler = SIG_DFL};
  for (int n = 1; n < NSIG; n++)
    sigaction(n, &usual, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * In the forked process. The parent may have had threads, so until the
 * program is executed only the simplest calls are made; only where there is
 * none does the supervisor run here, on the C library's promise that memory
 * can be allocated after a fork.
 */
static _Noreturn void become_supervisor(const char *program, const char *name,
                                        int say) {
  setsid();
  pid_t pid = fork();
  if (pid != 0) _exit(pid < 0 ? 1 : 0);
  reset_signals();
  set_descriptors(say);
  if (program != NULL) {
    execl(program, "taskengine", "supervise", name, (char *)NULL);
  }
  _exit(te_supervisor_run(name));
}

static int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return 0;  // somebody else reaped it
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : UV_EAGAIN;
}

int te_launch_supervisor(const char *name, bool may_execute) {
  int say[2];
  if (pipe2(say, O_CLOEXEC) != 0) return uv_translate_sys_error(errno);
  char *program = may_execute ? find_program() : NULL;
  sigset_t all, before;
  sigfillset(&all);
  te_log_flush();  // or the forked process would write it a second time
  pthread_sigmask(SIG_BLOCK, &all, &before);
  pid_t pid = fork();
  if (pid == 0) become_supervisor(program, name, say[1]);
  int rc = pid < 0 ? uv_translate_sys_error(errno) : 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  // The first of the two does nothing but fork and end.
  if (pid > 0) rc = wait_for(pid);
  te_free(program);
  close(say[1]);
  if (rc == 0) return say[0];
  close(say[0]);
  return rc;
}
