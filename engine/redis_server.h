/*
 * redis_server: keeps the redis-server of an instance running.
 *
 * A state machine that its owner, the supervisor, steps: whenever something
 * happened to a child process or on te_redis_server_fd, and at the latest
 * after te_redis_server_pause_ms. It does not block.
 *
 *   OFF -> LOCKING -> STARTING -> READY    start
 *   any -> STOPPING -> OFF                 stop
 *   STARTING, READY -> PAUSED -> LOCKING   it ended by itself: again, later
 *   STARTING -> FAILED                     for the third time in a row
 */
#ifndef TE_REDIS_SERVER_H
#define TE_REDIS_SERVER_H

#include "instance.h"

typedef enum te_server_state {
  TE_SERVER_OFF,
  TE_SERVER_LOCKING,   // waits until the server before it is gone
  TE_SERVER_STARTING,  // does not answer yet, or says that it is loading
  TE_SERVER_READY,
  TE_SERVER_PAUSED,
  TE_SERVER_STOPPING,
  TE_SERVER_FAILED,  // for good; see te_redis_server_why
} te_server_state;

typedef struct te_redis_server te_redis_server;

// Keeps `i`, which must outlive it. Caller frees, once it is OFF or FAILED.
te_redis_server *te_redis_server_new(const te_instance *i);
void te_redis_server_free(te_redis_server *s);

void te_redis_server_start(te_redis_server *s);  // only when OFF
void te_redis_server_stop(te_redis_server *s);   // harmless when on its way

// Does what is due and tells where that led.
te_server_state te_redis_server_step(te_redis_server *s);
// Milliseconds until the next step is due; -1 when nothing is.
int te_redis_server_pause_ms(const te_redis_server *s);
int te_redis_server_fd(const te_redis_server *s);  // to poll; -1 for none

// Why it FAILED, or why it last ended by itself.
int te_redis_server_why(const te_redis_server *s, const char **why);

#endif
