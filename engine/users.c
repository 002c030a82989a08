#include "users.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>

struct te_users {
  char *path;
  int listener;  // -1 when closed
  dev_t dev;     // of the path, as it was made
  ino_t ino;
  bool is_deaf;  // no descriptor or memory was left for the last who knocked
  int *fd;
  size_t count;
  size_t cap;
};

static int listen_on(te_users *u, te_why *why) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  struct stat st;
  snprintf(at.sun_path, sizeof(at.sun_path), "%s", u->path);
  unlink(u->path);
  u->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (u->listener >= 0 &&
      bind(u->listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
      lstat(u->path, &st) == 0 && listen(u->listener, SOMAXCONN) == 0) {
    u->dev = st.st_dev;
    u->ino = st.st_ino;
    return 0;
  }
  int rc = uv_translate_sys_error(errno);
  return te_why_set(why, rc, "cannot listen on %s: %s", u->path,
                    te_strerror(rc));
}

te_users *te_users_new(const char *path, int *code, te_why *why) {
  te_users *u = te_alloc_zero(1, sizeof(*u));
  u->path = te_strdup(path);
  u->listener = -1;
  *code = listen_on(u, why);
  if (*code == 0) return u;
  te_users_free(u);
  return NULL;
}

bool te_users_can_be_found(const te_users *u) {
  struct stat st;
  return lstat(u->path, &st) == 0 && st.st_dev == u->dev && st.st_ino == u->ino;
}

void te_users_close_listener(te_users *u) {
  if (u->listener < 0) return;
  if (te_users_can_be_found(u)) unlink(u->path);
  close(u->listener);
  u->listener = -1;
}

void te_users_free(te_users *u) {
  if (u == NULL) return;
  te_users_close_listener(u);
  for (size_t n = 0; n < u->count; n++)
    close(u->fd[n]);
  te_free(u->fd);
  te_free(u->path);
  te_free(u);
}

size_t te_users_count(const te_users *u) {
  return u->count;
}

static bool is_listening(const te_users *u) {
  return u->listener >= 0 && u->count < TE_USERS_MAX && !u->is_deaf;
}

size_t te_users_fill_poll(const te_users *u, struct pollfd *polls) {
  size_t filled = 0;
  for (size_t n = 0; n < u->count; n++) {
    polls[filled++] = (struct pollfd){.fd = u->fd[n], .events = POLLIN};
  }
  if (is_listening(u)) {
    polls[filled++] = (struct pollfd){.fd = u->listener, .events = POLLIN};
  }
  return filled;
}

static bool is_ours(int fd) {
  struct ucred peer;
  socklen_t size = sizeof(peer);
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         peer.uid == geteuid();
}

// A line fits into the socket's buffer many times over, unless nobody reads.
static bool tell(int fd, const char *line) {
  size_t size = strlen(line);
  return send(fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

static void add(te_users *u, int fd) {
  if (u->count == u->cap) {
    u->cap = u->cap == 0 ? 8 : 2 * u->cap;
    u->fd = te_realloc(u->fd, u->cap * sizeof(*u->fd));
  }
  u->fd[u->count++] = fd;
}

static void accept_all(te_users *u, const char *line) {
  while (is_listening(u)) {
    int fd = accept4(u->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      // Polled again, it would wake us at once, to no avail: wait for
      // another event.
      u->is_deaf = errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
                   errno == ENOBUFS;
      return;
    }
    if (is_ours(fd) && (line == NULL || tell(fd, line))) {
      add(u, fd);
    } else {
      close(fd);
    }
  }
}

// A user says nothing as long as it lives.
static bool is_there(int fd) {
  char byte;
  return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 &&
         (errno == EAGAIN || errno == EINTR);
}

static void drop(int *fd) {
  close(*fd);
  *fd = -1;
}

static void sweep(te_users *u) {
  size_t kept = 0;
  for (size_t n = 0; n < u->count; n++) {
    if (u->fd[n] >= 0) u->fd[kept++] = u->fd[n];
  }
  u->count = kept;
}

void te_users_step(te_users *u, const struct pollfd *polls, const char *line) {
  for (size_t n = 0; n < u->count; n++) {
    if (polls[n].revents != 0 && !is_there(u->fd[n])) drop(&u->fd[n]);
  }
  sweep(u);
  u->is_deaf = false;
  accept_all(u, line);
}

void te_users_tell(te_users *u, const char *line) {
  for (size_t n = 0; n < u->count; n++) {
    if (!tell(u->fd[n], line)) drop(&u->fd[n]);
  }
  sweep(u);
}
