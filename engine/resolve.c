#include "resolve.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#define PORT_DIGITS_MAX 6  // "65535" and a NUL
#define THREADS_MAX     16

static atomic_int threads;  // of all loops

struct te_resolve {
  uv_async_t answered;
  te_resolve_cb cb;
  void *arg;
  char *host;
  char port[PORT_DIGITS_MAX];
  atomic_int holders;  // the thread, and the loop until `answered` has closed
  pthread_mutex_t mutex;
  // Under the mutex:
  bool is_closing;
  int status;
  struct addrinfo *list;
};

static void release(te_resolve *r) {
  if (atomic_fetch_sub(&r->holders, 1) > 1) return;
  if (r->list != NULL) freeaddrinfo(r->list);
  pthread_mutex_destroy(&r->mutex);
  te_free(r->host);
  te_free(r);
}

static int code_of(int status) {
  switch (status) {
    case 0: return 0;
    case EAI_AGAIN: return UV_EAI_AGAIN;
    case EAI_BADFLAGS: return UV_EAI_BADFLAGS;
    case EAI_FAIL: return UV_EAI_FAIL;
    case EAI_FAMILY: return UV_EAI_FAMILY;
    case EAI_MEMORY: return UV_EAI_MEMORY;
    case EAI_NONAME: return UV_EAI_NONAME;
    case EAI_SERVICE: return UV_EAI_SERVICE;
    case EAI_SOCKTYPE: return UV_EAI_SOCKTYPE;
#ifdef EAI_NODATA
    case EAI_NODATA: return UV_EAI_NODATA;
#endif
    default: return UV_EAI_FAIL;
  }
}

static void *run(void *arg) {
  te_resolve *r = arg;
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *list = NULL;
  int status = getaddrinfo(r->host, r->port, &hints, &list);
  pthread_mutex_lock(&r->mutex);
  r->status = code_of(status);
  r->list = status == 0 ? list : NULL;
  if (!r->is_closing) uv_async_send(&r->answered);
  pthread_mutex_unlock(&r->mutex);
  release(r);
  atomic_fetch_sub(&threads, 1);
  return NULL;
}

static void on_closed(uv_handle_t *handle) {
  release(handle->data);
}

static void end(te_resolve *r) {
  pthread_mutex_lock(&r->mutex);
  r->is_closing = true;
  pthread_mutex_unlock(&r->mutex);
  uv_close((uv_handle_t *)&r->answered, on_closed);
}

static void on_answered(uv_async_t *answered) {
  te_resolve *r = answered->data;
  end(r);
  struct addrinfo *list = r->list;
  r->list = NULL;  // the thread has done with it
  r->cb(r->arg, r->status, list);
}

static bool start_thread(te_resolve *r) {
  pthread_attr_t detached;
  pthread_t thread;
  sigset_t all, before;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  sigfillset(&all);  // signals are the loop's
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int rc = pthread_create(&thread, &detached, run, r);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&detached);
  return rc == 0;
}

te_resolve *te_resolve_start(uv_loop_t *loop, const char *host, int port,
                             te_resolve_cb cb, void *arg) {
  te_resolve *r = te_alloc_zero(1, sizeof(*r));
  if (uv_async_init(loop, &r->answered, on_answered) < 0) {
    te_free(r);
    return NULL;
  }
  r->answered.data = r;
  r->cb = cb;
  r->arg = arg;
  r->host = te_strdup(host);
  snprintf(r->port, sizeof(r->port), "%d", port);
  pthread_mutex_init(&r->mutex, NULL);
  atomic_init(&r->holders, 2);
  if (atomic_fetch_add(&threads, 1) < THREADS_MAX && start_thread(r)) return r;
  atomic_fetch_sub(&threads, 1);
  release(r);  // in the thread's place
  end(r);
  return NULL;
}

void te_resolve_cancel(te_resolve *r) {
  end(r);
}
