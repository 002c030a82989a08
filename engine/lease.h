/*
 * lease: a worker's name in Redis, and what it learns by keeping it.
 *
 * Registers the worker, renews its lease every third of it, and keeps the
 * times that Redis told: when the next task is due, when another worker's
 * lease ends (then that one is reaped). Embedded in whoever has the
 * connection, which it borrows.
 *
 *   lost --set_name--> absent --ask--> asking --> held
 *                        ^------ pause (no connection) ---'
 *   any --(Redis says FENCED)--> lost
 *
 * The first `asking` under a name registers it; later ones ask whether the
 * lease is still held, and what Redis thinks the worker has in flight: what
 * fetches before have handed out, for none of them is carried out any more.
 */
#ifndef TE_LEASE_H
#define TE_LEASE_H

#include <uv.h>

#include "id.h"
#include "redis.h"
#include "task.h"

typedef enum te_lease_state {
  TE_LEASE_LOST,
  TE_LEASE_ABSENT,
  TE_LEASE_ASKING,
  TE_LEASE_HELD,
} te_lease_state;

typedef struct te_lease_events {
  // Held; is_new: under a new name, and `held` is NULL. Otherwise an array of
  // strings, borrowed: the number as of on_handed, then the fields that Redis
  // has in flight for this worker.
  void (*on_held)(void *arg, bool is_new, const te_reply *held);
  // Redis will not have this worker, and no error that passes says so (it is
  // asked again all the same). A sentence, borrowed.
  void (*on_refused)(void *arg, const char *why);
  void (*on_work)(void *arg);  // there may be something to fetch
  // Redis says, at each heartbeat: the number of the last task that it handed
  // over to this worker; 0 when it hands none over.
  void (*on_handed)(void *arg, uint32_t number);
  // And each request that stands (request.h); borrowed.
  void (*on_request)(void *arg, te_slice request);
  void (*on_lost)(void *arg);
  bool (*has_room)(void *arg);  // for what is due; else others are woken
  void *arg;
} te_lease_events;

enum te_lease_timer {
  TE_LEASE_HEARTBEAT,
  TE_LEASE_DUE,
  TE_LEASE_FOREIGN,
  TE_LEASE_RETRY,
  TE_LEASE_TIMERS
};

typedef struct te_lease {
  te_redis *redis;
  te_lease_events events;
  te_lease_state state;
  bool was_held;      // under this name
  bool is_described;  // Redis was told the description and the queues
  const char *prefix;
  uint64_t ms;
  uint64_t refused_ms;  // when Redis last answered with an error; 0: never
  int64_t redis_ms;     // its clock, as it was last heard of
  uint64_t heard_ms;    // when that was
  char wid[TE_ID_PRODUCER_BYTES + 1];
  te_buf description;
  char **queues;
  size_t queue_count;
  uint32_t delivery;  // number of the last fetch: none before it may come late
  char foreign[TE_ID_PRODUCER_BYTES];  // whose lease ends next; no NUL
  uv_timer_t timers[TE_LEASE_TIMERS];
  int open_handles;
  void (*on_close)(void *arg);
  void *close_arg;
} te_lease;

// `redis` and `prefix` are borrowed until te_lease_close, which is called
// once; `events` is copied. The cb of that comes when the timers have closed;
// replies still come to the lease until `redis` has, too.
void te_lease_init(te_lease *l, uv_loop_t *loop, te_redis *redis,
                   const char *prefix, uint64_t ms,
                   const te_lease_events *events);
void te_lease_close(te_lease *l, void (*cb)(void *arg), void *arg);

// A new incarnation. All copied.
void te_lease_set_name(te_lease *l, const char wid[TE_ID_PRODUCER_BYTES],
                       te_slice description, const te_slice *queues,
                       size_t queue_count);
// Another description, other queues. All copied.
void te_lease_describe(te_lease *l, te_slice description,
                       const te_slice *queues, size_t queue_count);
void te_lease_ask(te_lease *l);    // the connection is there
void te_lease_pause(te_lease *l);  // it is not

/*
 * Looks at a reply to a call that renewed the lease. 0 when it is one to work
 * with. An error (Redis loads, is read-only) is waited out: on_work comes
 * later. FENCED: on_lost was called.
 */
int te_lease_check(te_lease *l, int status, const te_reply *reply);
// Sets a timer. True, and no timer, when it is due and who calls `asks` for it.
bool te_lease_note_due(te_lease *l, int64_t now, int64_t due, bool asks);
// Readies what is due and what flows have left to do, for those who have room.
void te_lease_promote(te_lease *l);
// Until when a task may begin, and end, by the clock of this process.
void te_lease_set_expiry(const te_lease *l, te_task *t);

#endif
