/*
 * worker: a master: children on one side, Redis on the other.
 *
 * Puts pool, queue and relay together, and knows how a worker starts and
 * stops. No Lua in here: what the children loaded and which Redis to use is
 * decided by the owner, between on_hello and te_worker_connect.
 *
 * Stopping warm: nothing more is fetched, what has not begun goes back, what
 * runs may end within the grace time, the rest is handed back, the lease is
 * given up. Cold: the same without the grace time. Being killed is the same
 * without the courtesy: the lease, or a successor on the same host, sees to
 * it.
 */
#ifndef TE_WORKER_H
#define TE_WORKER_H

#include <uv.h>

#include "claims.h"
#include "log.h"
#include "pool.h"
#include "redis.h"
#include "terms.h"

typedef struct te_worker te_worker;

typedef struct te_worker_options {
  const char *program;      // run as: program child INDEX
  unsigned processes;       // 1 to TE_PROCESSES_MAX
  unsigned concurrency;     // tasks at a time in each
  const char *claims_dir;   // 0700; where claims lie for a successor; or NULL.
                            // Goes with the worker when nothing else is there
  te_slice config;          // what children load: MessagePack, copied
  te_log_level task_level;  // what tasks say is logged from there on
} te_worker_options;

// What Redis knows of a worker that has stopped.
typedef struct te_farewell {
  bool is_told;     // that it is gone, or was never there
  size_t untold;    // tasks that it has there still
  size_t outcomes;  // of these: they ended, and Redis does not know how
} te_farewell;

typedef struct te_worker_events {
  // The first child has loaded its files. te_worker_connect, or stop.
  void (*on_hello)(void *arg, te_slice hello);
  void (*on_ready)(void *arg);  // the lease is held, tasks may come
  // Redis cannot be used as it is (credentials, version), or not be reached.
  void (*on_trouble)(void *arg, int code, const char *why, bool fatal);
  void (*on_recovered)(void *arg);  // it can be reached again
  void (*on_reload)(void *arg, te_reload what, te_slice text);  // see crew.h
  void (*on_stopped)(void *arg, const te_farewell *f);  // the last event
  void *arg;
} te_worker_events;

typedef struct te_worker_plan {
  te_redis_options redis;  // callbacks unused; all it points to is kept alive
  const char *prefix;      // "te:{default.0}:"
  const char *service;     // its heirs serve this too; TE_CLAIMS_SERVICE_BYTES
  uint64_t lease_ms;
  te_terms terms;
} te_worker_plan;

// 0, or why not. What options point to must outlive the call, only.
int te_worker_new(uv_loop_t *loop, const te_worker_options *options,
                  const te_worker_events *events, te_worker **out);
int te_worker_start(te_worker *w);  // on failure: stop it, cold
void te_worker_connect(te_worker *w, const te_worker_plan *plan);
// Others, once it is connected; Redis is told. All copied.
void te_worker_set_terms(te_worker *w, const te_terms *terms);
// Loads the files anew; nothing when it does not serve.
void te_worker_reload(te_worker *w);
size_t te_worker_in_hand(const te_worker *w);  // tasks fetched and not ended
// Again and cold: at once. Harmless when it is stopping already.
void te_worker_stop(te_worker *w, bool is_cold);
void te_worker_free(te_worker *w);  // after (or within) on_stopped

#endif
