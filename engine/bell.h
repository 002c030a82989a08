/*
 * bell: a worker's second connection, which waits where the first works.
 *
 * It blocks on the worker's bell, `P b:<wid>`: an empty item says that there
 * is work, any other is an outcome that one of the tasks waits for.
 */
#ifndef TE_BELL_H
#define TE_BELL_H

#include <uv.h>

#include "redis.h"

typedef struct te_bell te_bell;

typedef struct te_bell_events {
  void (*on_ring)(void *arg);                 // also when it begins to listen
  void (*on_gap)(void *arg);                  // items may have been lost
  void (*on_item)(void *arg, te_slice item);  // borrowed for the call
  void *arg;
} te_bell_events;

// `options` as for te_redis_new, without `prepare`; its other callbacks are
// replaced. The key is copied.
te_bell *te_bell_new(uv_loop_t *loop, const te_redis_options *options,
                     te_slice key, const te_bell_events *events);
// Whether it listens: it is connected, and Redis lets it wait. NULL: it does
// not.
bool te_bell_is_heard(const te_bell *b);
void te_bell_close(te_bell *b);  // asynchronous, frees itself; NULL is fine

#endif
