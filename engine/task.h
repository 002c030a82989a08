/*
 * task: a task in a master's hands, from fetch until Redis knows its end.
 *
 *   held --offer--> offered --(the child's claim)--> begun --> ended --> gone
 *     ^----withdraw----'                                         |
 *     '--- its child died and it had not begun                   '-- told to
 *                                                                    Redis
 *
 * `offered` and `begun` are told apart by the claim (claims.h); here both are
 * one list, the child's. What ends a task is an operation of te1_finish and
 * an outcome.
 */
#ifndef TE_TASK_H
#define TE_TASK_H

#include "claims.h"
#include "envelope.h"
#include "list.h"

// Operations of te1_finish, as docs/protocol.md has them.
typedef enum te_end {
  TE_END_NONE = 0,
  TE_END_OUTCOME = 'o',    // with a record
  TE_END_UNSPENT = 'h',    // handed back, had not begun
  TE_END_BACK = 'b',       // handed back, begun
  TE_END_LOST = 'l',       // its child died; with a record for the last time
  TE_END_UNKNOWN = 'n',    // no such task here; with a record
  TE_END_RETRY = 'r',      // to be run again; its record is a verdict
  TE_END_DELEGATED = 'w',  // a flow ends it, which its record names
} te_end;

// What a child says instead of an outcome: it has no such task.
#define TE_OUTCOME_UNKNOWN "N"

typedef struct te_task {
  te_list link;
  char field[TE_FIELD_BYTES];  // its key in flight
  te_envelope envelope;        // borrows from `bytes`
  uint64_t order;              // of its submission to the pool
  te_token token;              // of the claim
  bool has_claim;              // from the offer until its end is told
  unsigned kind;               // dispatch.h: a hash of its name
  uint32_t expected_us;        // to run, about, since it was offered
  unsigned child;              // index, while it is with a child
  bool waits;                  // for another task: takes no slot
  uint64_t expires_ms;         // no attempt begins then, te_clock_ms; 0: never
  uint64_t deadline_ms;        // of all its attempts, te_clock_ms; 0: none
  uint64_t limit_ms;           // when its time is up is looked at; 0: no limit
  uint64_t doom_ms;   // it was asked to end, until then; 0: as it likes
  bool is_cancelled;  // asked to end where it waits
  bool is_asked;      // revoked while it runs
  te_end end;
  bool is_told;  // sent to Redis once: it may know already
  char *record;  // the outcome, or NULL; freed with the task
  size_t record_size;
  te_list news;  // in news.h, while there is a word of it to be told
  char *word;    // its last one, or NULL; freed with the task
  size_t word_size;
  bool is_word_told;  // sent to Redis: a later one is another
  size_t size;
  char bytes[];  // the envelope
} te_task;

// A task fetched with this delivery number; NULL when the bytes are malformed
// or more than a child could be sent.
te_task *te_task_new(te_slice envelope, uint32_t delivery);
// Such a one, ended as Malformed; NULL when there is not even an id.
te_task *te_task_malformed(te_slice envelope, uint32_t delivery);
// Only a field, to be handed back: a task whose envelope never arrived.
te_task *te_task_of_field(te_slice field);
void te_task_free(te_task *t);  // in no list but `news`; NULL is fine

// Forgets its last word, if there is one.
void te_task_hush(te_task *t);

// Notes how it ends; the record is copied.
void te_task_end(te_task *t, te_end end, te_slice record);

// What a child reports: an outcome, a verdict (verdict.h), a delegation
// (record.h), or that it does not know the task.
void te_task_set_outcome(te_task *t, te_slice record);

// A failure's record: F and { kind, message }.
void te_task_fail(te_task *t, te_end end, const char *kind, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

// It was revoked, before it had begun or while it ran.
void te_task_revoke(te_task *t, bool has_begun);
// It was asked to end, and is ended when it has not done so by then.
void te_task_doom(te_task *t, uint64_t at_ms);

typedef enum te_time {
  TE_TIME_LEFT,    // until t->limit_ms, or no limit
  TE_TIME_CANCEL,  // the task is to be asked to end
  TE_TIME_KILL,    // its child is to be killed
} te_time;

// When its time is up if it began at begun_ms; 0: never.
uint64_t te_task_limit(const te_task *t, uint64_t begun_ms);

/*
 * Looks at the hard time limit, which counts from taken_ms (0: not begun), and
 * at the deadline and its doom. When one is over, the task has ended with
 * TimeLimitExceeded, or is revoked; one that only waits gets a second to do so
 * by itself.
 */
te_time te_task_check_limit(te_task *t, uint64_t taken_ms, bool is_executing,
                            uint64_t now_ms);

// Its time was up: it is run again if its will (claims.h) says so.
void te_task_execute_will(te_task *t, te_slice will);

#endif
