#include "instance.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>

enum {
  SOCKET_PATH_BYTES_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
};

int te_why_set(te_why *why, int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int size = vsnprintf(why->text, sizeof(why->text), format, args);
  va_end(args);
  assert(size >= 0);
  for (char *p = why->text; *p != '\0'; p++) {
    if ((unsigned char)*p < ' ' || *p == '\x7f') *p = ' ';
  }
  return code;
}

// "A/BC"; caller frees. `c` may be "".
static char *join(const char *a, const char *b, const char *c) {
  size_t size = strlen(a) + strlen(b) + strlen(c) + 2;
  char *path = te_alloc(size);
  snprintf(path, size, "%s/%s%s", a, b, c);
  return path;
}

// As in a URL (url.c); a dot in front would hide the folder, or be another's.
static bool is_name(const char *name) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-";
  size_t size = strlen(name);
  return size > 0 && size <= TE_NAME_BYTES_MAX && name[0] != '.' &&
         strspn(name, allowed) == size;
}

// The XDG rules: a path that is not absolute counts as not set.
static const char *env_folder(const char *variable) {
  const char *value = getenv(variable);
  return value != NULL && value[0] == '/' ? value : NULL;
}

// .../taskengine under the state folder; NULL when there is no home.
static char *state_folder(void) {
  const char *state = env_folder("XDG_STATE_HOME");
  if (state != NULL) return join(state, "taskengine", "");
  const char *home = env_folder("HOME");
  if (home == NULL) {
    const struct passwd *user = getpwuid(geteuid());
    if (user != NULL) home = user->pw_dir;
  }
  return home == NULL ? NULL : join(home, ".local/state/taskengine", "");
}

// NULL when this user has no runtime folder. After `su` the variable still
// names the folder of another user, which is as good as none.
static char *runtime_folder(void) {
  const char *runtime = env_folder("XDG_RUNTIME_DIR");
  struct stat st;
  if (runtime == NULL || stat(runtime, &st) != 0) return NULL;
  if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid()) return NULL;
  return join(runtime, "taskengine", "");
}

static int check_paths(const te_instance *i, te_why *why) {
  size_t socket = strlen(i->socket), control = strlen(i->control);
  const char *longer = socket > control ? i->socket : i->control;
  if (strlen(longer) > SOCKET_PATH_BYTES_MAX) {
    return te_why_set(why, UV_ENAMETOOLONG,
                      "the socket %s has a path of %zu bytes and the system "
                      "allows %d: use a shorter name or a shorter "
                      "XDG_RUNTIME_DIR",
                      longer, strlen(longer), SOCKET_PATH_BYTES_MAX);
  }
  // Paths are told in lines.
  if (strchr(i->folder, '\n') == NULL && strchr(longer, '\n') == NULL) return 0;
  return te_why_set(why, UV_EINVAL, "the path of %s has a line break in it",
                    i->folder);
}

int te_instance_init(te_instance *out, const char *name, te_why *why) {
  *out = (te_instance){0};
  if (!is_name(name)) {
    return te_why_set(why, UV_EINVAL,
                      "\"%.*s\" is no name for an embedded Redis: 1 to %d of "
                      "A-Z a-z 0-9 _ . : - with no dot in front are",
                      TE_NAME_BYTES_MAX, name, TE_NAME_BYTES_MAX);
  }
  char *state = state_folder();
  if (state == NULL) {
    return te_why_set(why, UV_ENOENT,
                      "this user has no home folder: set XDG_STATE_HOME to "
                      "where the embedded Redis may keep its data");
  }
  out->name = te_strdup(name);
  out->folder = join(state, name, "");
  te_free(state);
  char *runtime = runtime_folder();
  if (runtime != NULL) {
    out->socket = join(runtime, name, ".sock");
    out->control = join(runtime, name, ".ctl");
  } else {
    out->socket = join(out->folder, "redis.sock", "");
    out->control = join(out->folder, "supervisor.ctl", "");
  }
  te_free(runtime);

  int rc = check_paths(out, why);
  if (rc < 0) te_instance_free(out);
  return rc;
}

void te_instance_free(te_instance *i) {
  te_free(i->name);
  te_free(i->folder);
  te_free(i->socket);
  te_free(i->control);
  *i = (te_instance){0};
}

// That the folder is not ours to write to is one thing for people, whatever
// the system calls it.
static int refuse(te_why *why, const char *what, const char *folder) {
  int code = uv_translate_sys_error(errno);
  const char *text = te_strerror(code);
  if (code == UV_EPERM || code == UV_EROFS) code = UV_EACCES;
  return te_why_set(why, code, "cannot %s the folder %s: %s", what, folder,
                    text);
}

// mkdir -p. `path` is absolute, changed on the way and whole again when all
// is made.
static int make_all(char *path, te_why *why) {
  for (char *p = path + 1;; p++) {
    if (*p != '/' && *p != '\0') continue;
    char end = *p;
    *p = '\0';
    struct stat st;
    bool there = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (!there && mkdir(path, 0700) != 0 && errno != EEXIST) {
      return refuse(why, "make", path);
    }
    *p = end;
    if (end == '\0') return 0;
  }
}

static int check_folder(const char *path, te_why *why) {
  struct stat st;
  if (stat(path, &st) != 0) return refuse(why, "use", path);
  if (!S_ISDIR(st.st_mode)) {
    errno = ENOTDIR;
    return refuse(why, "use", path);
  }
  if (st.st_uid != geteuid()) {
    return te_why_set(why, UV_EACCES,
                      "the folder %s belongs to another user (uid %u)", path,
                      (unsigned)st.st_uid);
  }
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return te_why_set(why, UV_EACCES,
                      "others may write to the folder %s: chmod go-w it", path);
  }
  if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) != 0) {
    return refuse(why, "write to", path);
  }
  return 0;
}

// The folder that the file lies in, made and checked.
static int make_parent(const char *file, te_why *why) {
  char *path = te_strdup(file);
  *strrchr(path, '/') = '\0';
  int rc = make_all(path, why);
  if (rc == 0) rc = check_folder(path, why);
  te_free(path);
  return rc;
}

int te_instance_make_folders(const te_instance *i, te_why *why) {
  int rc = make_parent(i->folder, why);
  if (rc == 0) {
    char *lock = te_instance_file(i, TE_INSTANCE_LOCK);
    rc = make_parent(lock, why);
    te_free(lock);
  }
  return rc == 0 ? make_parent(i->socket, why) : rc;
}

char *te_instance_file(const te_instance *i, const char *name) {
  return join(i->folder, name, "");
}

/*
 * One line for the path and one for the process, for people. Who reads while
 * we write sees a path without its end and takes it for none.
 */
int te_instance_write_address(const te_instance *i, int fd) {
  if (ftruncate(fd, 0) == 0 &&
      dprintf(fd, "%s\n%d\n", i->control, (int)getpid()) > 0) {
    return 0;
  }
  return uv_translate_sys_error(errno);
}

char *te_instance_read_address(const te_instance *i) {
  char text[SOCKET_PATH_BYTES_MAX + 1];  // a line break behind the path
  char *file = te_instance_file(i, TE_INSTANCE_LOCK);
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  te_free(file);
  if (fd < 0) return NULL;
  ssize_t got = read(fd, text, sizeof(text));
  close(fd);
  if (got <= 0) return NULL;
  const char *end = memchr(text, '\n', (size_t)got);
  if (end == NULL || end == text) return NULL;
  return te_slice_dup(te_slice_of(text, (size_t)(end - text)));
}
