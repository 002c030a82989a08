/*
 * queue: a worker's side of Redis: its lease, what it fetches and finishes.
 *
 * One round is under way at a time: all that ended since the last one, then
 * a fetch for the room there is, in one write. So batches grow with the load
 * and nothing waits for a timer.
 *
 * A worker that fetched less than it had room for is asleep: it fetches again
 * when its bell rings, when a due time or another worker's lease has come, or
 * when a heartbeat says that there is work. Should it have no room then, the
 * bell is passed on. A single task that is enqueued meanwhile comes straight
 * out of the bell, in flight already, and the worker sleeps on.
 *
 * Life: new -> (on_up) -> start -> on_task, ... -> leave -> close. After the
 * connection was lost, or such a task, the queue compares what the worker
 * holds with what Redis says it holds, before anything else: what Redis gave
 * and the worker never got is handed back, what ended and may have been told
 * is told again.
 */
#ifndef TE_QUEUE_H
#define TE_QUEUE_H

#include <uv.h>

#include "redis.h"
#include "task.h"

typedef struct te_queue te_queue;

typedef struct te_queue_events {
  // The connection is there (and was not); false: it was lost, and why.
  void (*on_link)(void *arg, bool is_up, int code, const char *why, bool fatal);
  // The lease is held: for the first time, or again under a new name.
  void (*on_lease)(void *arg);
  // It will not be given, for a reason that somebody has to mend.
  void (*on_refused)(void *arg, const char *why);
  // Takes it. One that was revoked on its way has ended.
  void (*on_task)(void *arg, te_task *t);
  // One that was given and has not come back should end; is_order: or be ended.
  void (*on_revoke)(void *arg, te_task *t, bool is_order);
  // The lease was lost, and with it all tasks: they are somebody else's now.
  // Drop them, then te_queue_start with another wid. `refused`: outcomes that
  // te_queue_end had taken and Redis has not.
  void (*on_fenced)(void *arg, size_t refused);
  void (*on_item)(void *arg, te_slice item);  // an outcome that was awaited
  void (*on_gap)(void *arg);      // such may have been lost: to be asked anew
  void (*on_settled)(void *arg);  // te_queue_is_settled, at the end of a turn
  size_t (*room)(void *arg);      // how many tasks the worker would take now
  void *arg;
} te_queue_events;

typedef struct te_queue_options {
  // All it points to is kept until the queue has closed; its callbacks are
  // replaced, and there is no `prepare`.
  const te_redis_options *redis;
  const char *prefix;  // "te:{default.0}:"; copied
  uint64_t lease_ms;
  te_claims *claims;  // freed task by task when Redis has confirmed its end
} te_queue_options;

te_queue *te_queue_new(uv_loop_t *loop, const te_queue_options *options,
                       const te_queue_events *events);

// Whom the lease is for, and what is served. All copied; may be repeated
// after on_fenced.
void te_queue_start(te_queue *q, const char wid[TE_ID_PRODUCER_BYTES],
                    te_slice description, const te_slice *queues,
                    size_t queue_count);

// What has changed of that, but for the wid; Redis is told. Copied.
void te_queue_describe(te_queue *q, te_slice description,
                       const te_slice *queues, size_t queue_count);

void te_queue_end(te_queue *q, te_task *t);  // takes an ended task
// What a task says of itself until then; copied. See news.h.
void te_queue_say(te_queue *q, te_task *t, te_slice word);
void te_queue_wake(te_queue *q);  // there is more room, or something to tell
void te_queue_stop_fetching(te_queue *q);
// Asks Redis what this worker holds, and hands back what it knows nothing of.
void te_queue_compare(te_queue *q);
// Tasks that have ended here and not in Redis; `outcomes` of them not by going
// back.
size_t te_queue_untold(const te_queue *q, size_t *outcomes);
// The lease is held, nothing is under way and nothing left to be told.
bool te_queue_is_settled(const te_queue *q);

// The connection and the prefix, for other calls.
te_redis *te_queue_redis(te_queue *q);
const char *te_queue_prefix(const te_queue *q);  // borrowed until it closes
te_slice te_queue_inbox(const te_queue *q);      // "b:<wid>"

// Gives up the lease, then calls cb, unless it was closed before; false: it
// was not possible, something may be in flight still.
void te_queue_leave(te_queue *q, void (*cb)(void *arg, bool has_left),
                    void *arg);
// Asynchronous, frees itself; the claims are not needed any more.
void te_queue_close(te_queue *q);

#endif
