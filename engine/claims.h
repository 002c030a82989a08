/*
 * claims: which task a child has really begun.
 *
 * One file, mapped by a master and its children. A task that is sent to a
 * child is *offered* in a claim; the child *takes* it, by one compare-and-
 * swap, before it runs the first line. Until then the master may *withdraw*
 * it by the same means and give it to another. So both know, without a
 * message, and even when one of them was killed, whether a task had begun.
 *
 *   free --offer--> offered --take--> taken --end--> ended --clear--> free
 *                      |                 |-------------clear--------> free
 *                      '--withdraw-> free '--ask--> asked, and on as taken
 *
 * When a task has ended, its outcome stands in the claim (a short one) until
 * Redis has confirmed it: no lost message makes it run again. Until then its
 * will may: what is to become of it when the child cannot say so any more.
 *
 * Each use of a claim has a generation of its own, so that a child that comes
 * late never takes what stands there now. The file also names the task that
 * each child is executing at this moment: when it dies, that one is to blame.
 *
 * The file lies in the runtime folder, with those of every other master of
 * this user, and is flocked by its master as long as that lives. Whoever can
 * lock another's file has found a dead master. What had begun there is of use
 * to those alone that serve the same, and the file says what that was.
 */
#ifndef TE_CLAIMS_H
#define TE_CLAIMS_H

#include "id.h"
#include "te.h"

#define TE_CLAIMS_MAX             16384  // tasks in one worker's hands
#define TE_PROCESSES_MAX          512    // that get tasks
#define TE_CHILDREN_MAX           1536   // also those that end what they began
#define TE_FIELD_BYTES            24     // id, delivery: a task in flight
#define TE_CLAIM_RECORD_BYTES_MAX 208    // of an outcome
#define TE_CLAIMS_SERVICE_BYTES   16     // names a broker and a namespace
#define TE_CLAIMS_NONE            UINT32_MAX
#define TE_CLAIMS_SUFFIX          ".claims"  // of a file's name
#define TE_CLAIMS_DRAFT           ".new"     // behind it, until it is whole

typedef struct te_claims te_claims;

typedef struct te_token {
  uint32_t claim;
  uint32_t generation;
} te_token;

/*
 * The master's side: makes the file and locks it; NULL for `path` makes one
 * without a name. 0, or a libuv code; UV_EBUSY or UV_ENOENT also when an heir
 * was faster: another name may do. Freed with te_claims_free, which also
 * unlinks the file.
 */
int te_claims_create(const char *path, te_claims **out);
// The same, under a name of its own in a folder, which is made if it has gone
// meanwhile. Caller frees the path.
int te_claims_create_in(const char *folder, char **path, te_claims **out);
int te_claims_fd(const te_claims *c);    // for a child to inherit
void te_claims_keep_file(te_claims *c);  // te_claims_free is not to unlink it
void te_claims_free(te_claims *c);       // NULL is fine

// What they serve; before the first owner.
void te_claims_set_service(te_claims *c,
                           const char service[TE_CLAIMS_SERVICE_BYTES]);
// The incarnation that the claims belong to; free claims only.
void te_claims_set_owner(te_claims *c, const char wid[TE_ID_PRODUCER_BYTES]);

// Offers a task in a free claim; asserts that there is one.
te_token te_claims_offer(te_claims *c, const char field[TE_FIELD_BYTES]);
size_t te_claims_free_count(const te_claims *c);
bool te_claims_withdraw(te_claims *c, te_token token);  // false: it was taken
bool te_claims_is_taken(const te_claims *c, te_token token);  // or asked
// When it was taken (te_clock_ms); 0 unless it is taken.
uint64_t te_claims_taken_at(const te_claims *c, te_token token);
// What the child left there for the case that its task's time is over; false:
// nothing, or that was asked to end. Borrowed until the next call.
bool te_claims_will(te_claims *c, te_token token, te_slice *will);
void te_claims_ask(te_claims *c, te_token token);  // one that is taken, to end
// The outcome that the child left there; false: none, or one too long.
// Borrowed until the next call.
bool te_claims_outcome(te_claims *c, te_token token, te_slice *record);
void te_claims_clear(te_claims *c, te_token token);  // it is told: free again
// Whether `child` is executing this task right now, or was when it died.
bool te_claims_is_executing(const te_claims *c, unsigned child, te_token token);
bool te_claims_is_busy(const te_claims *c, unsigned child);  // executes any
void te_claims_reset_child(te_claims *c, unsigned child);

// A child's side: maps what it inherited, and closes the descriptor: no code
// of a task's is to come upon it. 0, or a libuv code.
int te_claims_attach(int fd, te_claims **out);
bool te_claims_take(te_claims *c, te_token token);
// Leaves a will; nothing when it is too long, or the claim is no more.
void te_claims_bequeath(te_claims *c, te_token token, te_slice will);
bool te_claims_is_asked(const te_claims *c, te_token token);
// Leaves the outcome in the claim; false: it is too long for that.
bool te_claims_end(te_claims *c, te_token token, te_slice record);
void te_claims_execute(te_claims *c, unsigned child, te_token token);
void te_claims_pause(te_claims *c, unsigned child);  // executes none

/*
 * Another master's file. UV_EBUSY while that master or a child of its lives.
 * Otherwise it stays locked until te_claims_free, which removes it; a file
 * that is none is removed at once. `each` is called for every task that had
 * begun, with its outcome if it had ended; both borrow until te_claims_free.
 */
int te_claims_open_dead(const char *path, te_claims **out);
// Removes a draft that nobody locks. UV_EBUSY when it is becoming a file.
int te_claims_sweep_draft(const char *path);
// Whether they served this. Those that never had an owner serve whoever asks.
bool te_claims_serve(const te_claims *c,
                     const char service[TE_CLAIMS_SERVICE_BYTES]);
void te_claims_owner(const te_claims *c, char wid[TE_ID_PRODUCER_BYTES]);
void te_claims_each_begun(const te_claims *c,
                          void (*each)(void *arg, te_slice field,
                                       te_slice outcome),
                          void *arg);

#endif
