/*
 * resolve: the addresses of a name, for who cannot wait for them.
 *
 * getaddrinfo cannot be stopped, and a name server that does not answer keeps
 * it for half a minute. In libuv's pool it would keep the loop, and the end
 * of the process, as long. So each question has a thread of its own, which is
 * left behind when nobody wants its answer any more.
 */
#ifndef TE_RESOLVE_H
#define TE_RESOLVE_H

#include <netdb.h>

#include <uv.h>

#include "te.h"

typedef struct te_resolve te_resolve;

// 0 and a list that freeaddrinfo frees (takes it), or a code and NULL.
typedef void (*te_resolve_cb)(void *arg, int status, struct addrinfo *list);

/*
 * Asks for the stream sockets of host and port. The loop calls cb, once; the
 * question is over then. NULL when there is no thread for it, or too many
 * were left behind.
 */
te_resolve *te_resolve_start(uv_loop_t *loop, const char *host, int port,
                             te_resolve_cb cb, void *arg);

// cb is not called any more. Only before it was.
void te_resolve_cancel(te_resolve *r);

#endif
