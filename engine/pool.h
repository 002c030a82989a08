/*
 * pool: the children of a master: who runs what, and what when one dies.
 *
 * Each child has `concurrency` slots. A task that waits for another task's
 * outcome takes none. Beyond its slots a child is offered some milliseconds
 * of work, by the measured mean run time of its tasks, so that it need not
 * wait for the master between two short ones. What was offered behind a task
 * that turns out to be long is withdrawn and given to others: to a child that
 * has room, or, when none has for a while, to other workers (TE_END_UNSPENT).
 * Of large tasks no more is taken than some megabytes.
 *
 * A child that dies is replaced at once. Of its tasks the one that it was
 * executing is lost (TE_END_LOST) unless the master killed it, others that
 * had begun go back (TE_END_BACK) if they may be started again, and those that
 * had not begun are given to another child.
 *
 * A child that has done enough (turnover.h), or is of before a reload, leaves:
 * what it has not begun is given to others, and it ends when the rest has
 * ended. While there are more children than usual on that account, no more
 * tasks take a slot at a time than without it.
 *
 * A task that is revoked is asked to end, if it has begun. With an order to, it
 * is given a second; then it is as if its time were up.
 *
 * A hard time limit that is over ends a task with TimeLimitExceeded: the
 * child is killed when it is executing it, or does not end it within a
 * second of being asked to.
 */
#ifndef TE_POOL_H
#define TE_POOL_H

#include <uv.h>

#include "claims.h"
#include "crew.h"
#include "task.h"
#include "wear.h"

typedef struct te_pool te_pool;

typedef struct te_pool_events {
  // A child has loaded its files and is ready, or could not. MessagePack,
  // borrowed: what, or why not.
  void (*on_hello)(void *arg, bool is_ready, te_slice hello);
  // A task is over; takes it. run_us: how long it ran, 0 when not known.
  void (*on_end)(void *arg, te_task *t, uint32_t run_us);
  // te_pool_reply answers it. `payload`: function and arguments, borrowed.
  void (*on_request)(void *arg, te_child_ref from, uint32_t request,
                     te_slice payload);
  void (*on_log)(void *arg, int level, const te_task *about, te_slice text);
  // What a task that has not ended says of itself; borrowed.
  void (*on_state)(void *arg, te_task *t, te_slice state);
  void (*on_reload)(void *arg, te_reload what, te_slice text);  // see crew.h
  void (*on_room)(void *arg);  // te_pool_room may have grown
  void (*on_death)(void *arg, te_child_ref child, const te_death *death);
  void *arg;
} te_pool_events;

typedef struct te_pool_options {
  unsigned processes;
  unsigned concurrency;
  const char *program;  // run as: program child INDEX
} te_pool_options;

// Copies the options, and keeps the claims; te_pool_free frees it.
te_pool *te_pool_new(uv_loop_t *loop, const te_pool_options *options,
                     const te_pool_events *events, te_claims *claims);
// What children are told to load: MessagePack, copied. Before start.
void te_pool_set_config(te_pool *p, te_slice config);
void te_pool_set_limits(te_pool *p, const te_wear_limits *limits);  // any time
void te_pool_reload(te_pool *p);  // see te_crew_reload
// Starts the children that are not there. 0, or why one could not be.
int te_pool_start(te_pool *p);

size_t te_pool_room(const te_pool *p);     // how many tasks it would take now
size_t te_pool_in_hand(const te_pool *p);  // how many it has
void te_pool_submit(te_pool *p, te_task *t);  // takes
// One that was submitted and has not ended; it may do so within. is_order: it
// is not to go on for long.
void te_pool_revoke(te_pool *p, te_task *t, bool is_order);

// What is too large for a frame becomes an error, or an item that the child
// has to read by itself.
void te_pool_reply(te_pool *p, te_child_ref to, uint32_t request, int status,
                   te_slice payload);
void te_pool_send_item(te_pool *p, te_child_ref to, te_slice item);
void te_pool_send_link(te_pool *p, bool is_up);  // also to those that come

// Ends with TE_END_UNSPENT what had not begun, and takes nothing any more.
void te_pool_drain(te_pool *p);
// Lets the children end by themselves; no child is started any more.
void te_pool_quit(te_pool *p);
/*
 * Kills every child; no child is started any more until te_pool_start. Their
 * tasks come back by on_end (TE_END_BACK: nobody is to blame), or, with
 * `give_up`, are dropped (the lease is gone and others have them).
 */
void te_pool_kill(te_pool *p, bool give_up);
size_t te_pool_alive(const te_pool *p);  // children not gone yet

// Once te_pool_alive is 0 (after quit or kill), or before start.
void te_pool_free(te_pool *p);

#endif
