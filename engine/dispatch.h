/*
 * dispatch: which child gets the next task, and how many more are taken.
 *
 * Logic only: it knows the children's hands and the tasks that none of them
 * has been offered; whether a child gets any is asked of its owner. Slots and
 * claims are shared out here, so that a worker never takes more than its
 * children hold.
 */
#ifndef TE_DISPATCH_H
#define TE_DISPATCH_H

#include "claims.h"
#include "hand.h"
#include "held.h"

#define TE_DISPATCH_KINDS 64  // of tasks, by a hash of their names

typedef struct te_dispatch_options {
  unsigned processes;
  unsigned concurrency;                         // slots of each
  unsigned seats;                               // of children
  te_claims *claims;                            // kept
  bool (*is_ready)(void *arg, unsigned child);  // it may get tasks
  // How many of `room` more tasks one that is ready may get.
  size_t (*limit)(void *arg, unsigned child, size_t room);
  // Whether there are more children than usual: for a while they share the
  // slots of those that are to be.
  bool (*is_crowded)(void *arg);
  void *arg;
} te_dispatch_options;

typedef struct te_dispatch {
  te_dispatch_options o;
  te_hand *hands;  // by the index of the child
  te_hand_index *index;
  te_held held;        // to be offered (again)
  uint64_t submitted;  // so far
  double mean_us;      // of recent run times; 0 before the first
  // The same of each kind, but that it rises at once.
  double kind_us[TE_DISPATCH_KINDS];
} te_dispatch;

void te_dispatch_init(te_dispatch *d, const te_dispatch_options *options);
void te_dispatch_free(te_dispatch *d);  // no task is there any more

size_t te_dispatch_room(const te_dispatch *d);     // tasks it would take now
void te_dispatch_add(te_dispatch *d, te_task *t);  // takes; it is the newest

/*
 * Offers the first of the tasks that are held to the child that has the least
 * to do; or, of a kind that is very short, to one that has begun to get some.
 * NULL when there is none, or no child has room.
 */
te_task *te_dispatch_offer(te_dispatch *d, uint64_t now_ms);

// Takes back what a child has not begun: it is held again, in its place.
void te_dispatch_withdraw(te_dispatch *d, unsigned child);

// Whether one child alone has something to do, and that is over soon.
bool te_dispatch_is_brief(const te_dispatch *d);

// Whether a child that has nothing could have some of this one's tasks, which
// are longer than was thought: the last of them ran for so long.
bool te_dispatch_is_uneven(const te_dispatch *d, unsigned child,
                           uint32_t run_us);

// Whether one of its tasks may keep others, or their ends, waiting.
bool te_dispatch_may_stall(const te_dispatch *d, unsigned child);

// How long a task ran; `t` is NULL where it is not known any more.
void te_dispatch_learn(te_dispatch *d, const te_task *t, uint32_t run_us);

#endif
