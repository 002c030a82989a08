// What task code with a C module can do to the channel of its process: a Lua
// module for specs, `require "native.channel"`.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#define CHANNEL_FD 3

// All of it, or as much as the other end takes.
static int channel_write(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  while (size > 0) {
    ssize_t n = write(CHANNEL_FD, bytes, size);
    struct pollfd full = {.fd = CHANNEL_FD, .events = POLLOUT};
    if (n < 0 && errno == EAGAIN && poll(&full, 1, -1) > 0) continue;
    if (n < 0) return luaL_error(L, "%s", strerror(errno));
    bytes += n;
    size -= (size_t)n;
  }
  return 0;
}

// All descriptors from the first to the last of these.
static int channel_close(lua_State *L) {
  int last = (int)luaL_checkinteger(L, 2);
  for (int fd = (int)luaL_checkinteger(L, 1); fd <= last; fd++)
    close(fd);
  return 0;
}

// A process that keeps the channel open, writes to it for ever, and outlives
// its parent by some seconds at most. Returns its pid.
static int channel_fork(lua_State *L) {
  const char *bytes = luaL_checkstring(L, 1);
  size_t size = strlen(bytes);
  unsigned seconds = (unsigned)luaL_checkinteger(L, 2);
  signal(SIGCHLD, SIG_IGN);
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, 0);
    alarm(seconds);
    while (size == 0 || write(CHANNEL_FD, bytes, size) >= 0 || errno == EAGAIN)
      if (size == 0) pause();
    _exit(0);
  }
  lua_pushinteger(L, pid);
  return 1;
}

static int channel_stop(lua_State *L) {
  (void)L;
  raise(SIGSTOP);
  return 0;
}

__attribute__((visibility("default"))) int luaopen_native_channel(lua_State *L);

int luaopen_native_channel(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"write", channel_write},
      {"close", channel_close},
      {"fork", channel_fork},
      {"stop", channel_stop},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
