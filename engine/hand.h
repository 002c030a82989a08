/*
 * hand: the tasks that one child has been offered, and how many more it gets.
 *
 * Logic only: no process and no pipe. Embedded in whoever has those.
 */
#ifndef TE_HAND_H
#define TE_HAND_H

#include "claims.h"
#include "list.h"
#include "task.h"

#define TE_HAND_AHEAD_US  3000  // of work behind a child's slots
#define TE_HAND_AHEAD_MAX 500   // tasks behind a child's slots
#define TE_HAND_STALL_MS  10    // one that ends nothing for so long is slow
// Of envelopes. A child that computes reads nothing: what it is given lies
// here and in its channel until then.
#define TE_HAND_BYTES_MAX ((size_t)64 * 1024 * 1024)

// Of all hands of a worker: which task a claim is for, NULL for none.
typedef struct te_hand_index {
  te_task *task[TE_CLAIMS_MAX];
} te_hand_index;

typedef struct te_hand {
  unsigned child;  // the claims' index
  te_hand_index *index;
  te_list tasks;         // offered and begun, in the order of offering
  size_t count;          // of the tasks
  size_t waiting;        // of them: wait for another task and take no slot
  size_t waiting_max;    // more than this take a slot each
  size_t bytes;          // of the envelopes of those that do not wait
  uint64_t expected_us;  // that these run, about
  bool is_clogged;       // as te_hand_check_clogged has noted
  uint64_t moved_ms;     // when one last ended, or the first was offered
  bool is_stalled;       // gets no more than its slots hold
} te_hand;

// Keeps `index`, which all hands share; zeroed at first.
void te_hand_init(te_hand *h, unsigned child, size_t waiting_max,
                  te_hand_index *index);

// Tasks that take a slot, or wait for one.
size_t te_hand_occupied(const te_hand *h);
// Slots that no task takes.
size_t te_hand_open_slots(const te_hand *h, unsigned slots);

// Which of two is to get a task: the one with less before it; then the one
// where fewer tasks wait, which could not go on while it computes.
bool te_hand_is_freer(const te_hand *a, const te_hand *b);

/*
 * How many more it is to get; mean_us is the tasks' run time, 0: not known.
 * Of large tasks as many as fit, and always one.
 */
size_t te_hand_room(const te_hand *h, unsigned slots, double mean_us);

// Offers the task in a claim and keeps it.
void te_hand_offer(te_hand *h, te_claims *claims, te_task *t, uint64_t now_ms);

// NULL when it has no such task.
te_task *te_hand_find(const te_hand *h, te_token token);

void te_hand_set_waits(te_hand *h, te_task *t, bool waits);

// The task has ended and leaves the hand; its claim is kept.
void te_hand_end(te_hand *h, te_task *t, uint64_t now_ms);

/*
 * The last task that has not begun, withdrawn and out of the hand; NULL when
 * there is none. The first to have been offered comes out last.
 */
te_task *te_hand_withdraw(te_hand *h, te_claims *claims);

// Takes this one out, unless it has begun.
bool te_hand_withdraw_task(te_hand *h, te_claims *claims, te_task *t);

/*
 * A task that has ended, as its claim says, out of the hand; NULL when there
 * is none. The child may be too busy to tell, or dead.
 */
te_task *te_hand_take_ended(te_hand *h, te_claims *claims, uint64_t now_ms);

/*
 * The child has died and what had not begun was withdrawn: says of each task
 * how it ends. To blame is the one that the child was executing, or else the
 * only one that had begun, if any; with is_killed, by the master, none is.
 * What is not to be started again (TE_FLAG_LOST_FAILS) fails in any case.
 */
void te_hand_judge(te_hand *h, te_claims *claims, bool is_killed, int pid,
                   const char *why);

te_task *te_hand_take_first(te_hand *h, uint64_t now_ms);  // NULL: empty

// Whether it has ended nothing for TE_HAND_STALL_MS.
bool te_hand_is_slow(const te_hand *h, uint64_t now_ms);
// Whether tasks wait behind a long one; notes it as stalled then.
bool te_hand_check_stall(te_hand *h, unsigned slots, uint64_t now_ms);
/*
 * Whether so many tasks wait that no other can begin. True once, until half
 * of those that may wait are left.
 */
bool te_hand_check_clogged(te_hand *h, unsigned slots);

#endif
