/***
What the operating system knows: the host, the clock, files, the terminal.
@module taskengine.core.sys
*/
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bind/bind.h"
#include "bind/scratch.h"
#include "clock.h"
#include "sha256.h"

static int fail_errno(lua_State *L) {
  return te_bind_fail(L, uv_translate_sys_error(errno));
}

/***
The name of this host.
@function hostname
@treturn string
*/
static int sys_hostname(lua_State *L) {
  char name[UV_MAXHOSTNAMESIZE];
  size_t size = sizeof(name);
  int rc = uv_os_gethostname(name, &size);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushlstring(L, name, size);
  return 1;
}

/***
The number of this process.
@function pid
@treturn int
*/
static int sys_pid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

/***
Asks the system for a SIGTERM when the process that started this one ends.
Again, it only tells whether that has happened.
@function end_with_parent
@tparam int pid of that process
@treturn boolean false when it has ended
*/
static int sys_end_with_parent(lua_State *L) {
  lua_Integer pid = luaL_checkinteger(L, 1);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  lua_pushboolean(L, getppid() == pid);
  return 1;
}

/***
The user that this process acts for.
@function euid
@treturn int
*/
static int sys_euid(lua_State *L) {
  lua_pushinteger(L, geteuid());
  return 1;
}

/***
How many processors this process may use (its affinity counts).
@function ncpus
@treturn int 1 or more
*/
static int sys_ncpus(lua_State *L) {
  lua_pushinteger(L, uv_available_parallelism());
  return 1;
}

/***
Seconds that never step back; their zero means nothing.
@function monotonic
@treturn number
*/
static int sys_monotonic(lua_State *L) {
  lua_pushnumber(L, (lua_Number)te_clock_us() / 1e6);
  return 1;
}

/***
Seconds since 1970 (UTC), with milliseconds.
@function wall
@treturn number
*/
static int sys_wall(lua_State *L) {
  lua_pushnumber(L, (lua_Number)te_clock_wall_ms() / 1e3);
  return 1;
}

/***
The absolute path without symbolic links.
@function realpath
@tparam string path of something that exists
@treturn[1] string
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, e.g. `"ENOENT"`
*/
static int sys_realpath(lua_State *L) {
  char path[PATH_MAX];
  if (realpath(luaL_checkstring(L, 1), path) == NULL) return fail_errno(L);
  lua_pushstring(L, path);
  return 1;
}

/***
The path of the running program.
@function exe
@treturn[1] string
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error
*/
static int sys_exe(lua_State *L) {
  char path[PATH_MAX];
  size_t size = sizeof(path);
  int rc = uv_exepath(path, &size);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushlstring(L, path, size);
  return 1;
}

static const char *type_name(mode_t mode) {
  if (S_ISREG(mode)) return "file";
  if (S_ISDIR(mode)) return "directory";
  if (S_ISSOCK(mode)) return "socket";
  if (S_ISFIFO(mode)) return "fifo";
  return "other";
}

/***
What a path names; symbolic links are followed.
@function stat
@tparam string path
@treturn[1] table with `type` (file, directory, socket, fifo, other), `size` in
bytes, `mtime` in seconds since 1970, `uid`, `mode`, the permission bits, and
`inode`
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, e.g. `"ENOENT"`
*/
static int sys_stat(lua_State *L) {
  struct stat st;
  if (stat(luaL_checkstring(L, 1), &st) != 0) return fail_errno(L);
  lua_createtable(L, 0, 6);
  lua_pushstring(L, type_name(st.st_mode));
  lua_setfield(L, -2, "type");
  lua_pushinteger(L, st.st_size);
  lua_setfield(L, -2, "size");
  lua_pushnumber(L, (lua_Number)st.st_mtim.tv_sec +
                        (lua_Number)st.st_mtim.tv_nsec / 1e9);
  lua_setfield(L, -2, "mtime");
  lua_pushinteger(L, st.st_uid);
  lua_setfield(L, -2, "uid");
  lua_pushinteger(L, st.st_mode & 07777);
  lua_setfield(L, -2, "mode");
  lua_pushinteger(L, (lua_Integer)st.st_ino);
  lua_setfield(L, -2, "inode");
  return 1;
}

/***
What is in a folder.
@function list
@tparam string path
@treturn[1] {string,...} names, without . and .., in order
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, e.g. `"ENOENT"`
*/
static int sys_list(lua_State *L) {
  uv_fs_t request;
  uv_dirent_t entry;
  const char *path = luaL_checkstring(L, 1);
  te_buf *names = te_bind_scratch_push(L);  // each with its zero byte
  int rc = uv_fs_scandir(NULL, &request, path, 0, NULL);
  while (rc >= 0 && uv_fs_scandir_next(&request, &entry) == 0)
    te_buf_add(names, entry.name, strlen(entry.name) + 1);
  uv_fs_req_cleanup(&request);
  if (rc < 0) return te_bind_fail(L, rc);
  te_slice all = te_buf_slice(names);
  lua_newtable(L);
  lua_Integer count = 0;
  for (size_t at = 0; at < all.size; at += strlen(all.data + at) + 1) {
    lua_pushstring(L, all.data + at);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

// 0 when `path` is a folder now.
static int make_folder(const char *path, mode_t mode) {
  struct stat st;
  if (mkdir(path, mode) == 0) return 0;
  int error = errno;
  if (stat(path, &st) != 0) return uv_translate_sys_error(error);
  return S_ISDIR(st.st_mode) ? 0 : UV_ENOTDIR;
}

/***
Makes a folder and those above it. Those that exist stay as they are.
@function mkdir_p
@tparam string path
@tparam[opt=511] int mode permission bits of what is made, less the umask
@treturn[1] boolean true when it is there now
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, e.g. `"EACCES"`
*/
static int sys_mkdir_p(lua_State *L) {
  te_slice given = te_bind_check_slice(L, 1);
  mode_t mode = (mode_t)luaL_optinteger(L, 2, 0777);
  char path[PATH_MAX];
  if (given.size == 0) return te_bind_fail(L, UV_ENOENT);
  if (given.size >= sizeof(path)) return te_bind_fail(L, UV_ENAMETOOLONG);
  memcpy(path, given.data, given.size + 1);
  int rc = 0;
  for (char *slash = strchr(path + 1, '/'); rc == 0 && slash != NULL;
       slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    rc = make_folder(path, mode);
    *slash = '/';
  }
  if (rc == 0) rc = make_folder(path, mode);
  if (rc < 0) return te_bind_fail(L, rc);
  lua_pushboolean(L, true);
  return 1;
}

/***
Whether a file descriptor is a terminal.
@function isatty
@tparam int fd e.g. 2 for stderr
@treturn boolean
*/
static int sys_isatty(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

/***
The width of the terminal on a file descriptor.
@function term_width
@tparam[opt=2] int fd
@treturn[1] int columns
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, `"ENOTTY"` when it is no terminal
*/
static int sys_term_width(lua_State *L) {
  struct winsize size;
  int fd = (int)luaL_optinteger(L, 1, STDERR_FILENO);
  if (ioctl(fd, TIOCGWINSZ, &size) != 0) return fail_errno(L);
  if (size.ws_col == 0) return te_bind_fail(L, UV_ENOTSUP);
  lua_pushinteger(L, size.ws_col);
  return 1;
}

/***
Reads an environment variable.
@function getenv
@tparam string name
@treturn ?string nil when it is not set
*/
static int sys_getenv(lua_State *L) {
  lua_pushstring(L, getenv(luaL_checkstring(L, 1)));
  return 1;
}

/***
Sets an environment variable of this process and of those it starts.
@function setenv
@tparam string name
@tparam ?string value nil takes the variable away
@treturn[1] boolean true
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, e.g. `"EINVAL"` for a name with `=`
*/
static int sys_setenv(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const char *value = luaL_optstring(L, 2, NULL);
  int rc = value == NULL ? unsetenv(name) : setenv(name, value, 1);
  if (rc != 0) return fail_errno(L);
  lua_pushboolean(L, true);
  return 1;
}

/***
The names of all environment variables.
@function environment
@treturn {string,...}
*/
static int sys_environment(lua_State *L) {
  lua_newtable(L);
  for (lua_Integer i = 0; environ[i] != NULL; i++) {
    const char *end = strchr(environ[i], '=');
    size_t size = end == NULL ? strlen(environ[i]) : (size_t)(end - environ[i]);
    lua_pushlstring(L, environ[i], size);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/***
A short name for a text: 64-bit FNV-1a. The same text has the same name
everywhere and for ever; it keeps no secret.
@function digest
@tparam string text
@treturn string 16 hexadecimal digits
*/
static int sys_digest(lua_State *L) {
  te_slice text = te_bind_check_slice(L, 1);
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < text.size; i++) {
    hash ^= (uint8_t)text.data[i];
    hash *= UINT64_C(0x100000001b3);
  }
  char hex[17];
  snprintf(hex, sizeof(hex), "%016" PRIx64, hash);
  lua_pushstring(L, hex);
  return 1;
}

/***
The SHA-256 of a text.
@function sha256
@tparam string text
@treturn string 32 bytes
*/
static int sys_sha256(lua_State *L) {
  unsigned char digest[TE_SHA256_BYTES];
  te_sha256(te_bind_check_slice(L, 1), digest);
  lua_pushlstring(L, (const char *)digest, sizeof(digest));
  return 1;
}

static const luaL_Reg functions[] = {
    {"hostname", sys_hostname},
    {"pid", sys_pid},
    {"end_with_parent", sys_end_with_parent},
    {"euid", sys_euid},
    {"ncpus", sys_ncpus},
    {"monotonic", sys_monotonic},
    {"wall", sys_wall},
    {"realpath", sys_realpath},
    {"exe", sys_exe},
    {"stat", sys_stat},
    {"list", sys_list},
    {"mkdir_p", sys_mkdir_p},
    {"isatty", sys_isatty},
    {"term_width", sys_term_width},
    {"getenv", sys_getenv},
    {"environment", sys_environment},
    {"setenv", sys_setenv},
    {"digest", sys_digest},
    {"sha256", sys_sha256},
    {NULL, NULL},
};

int te_bind_open_sys(lua_State *L) {
  luaL_newlib(L, functions);
  te_bind_open_process(L);
  lua_setfield(L, -2, "spawn");
  return 1;
}
