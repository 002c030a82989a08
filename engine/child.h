/*
 * child: the other end of the channel: a process that runs tasks.
 *
 * Takes tasks from the master, claims each before it begins, and starts as
 * many at a time as it was told. It knows nothing of Lua: who embeds it
 * runs the tasks. When the master is gone, so is the child: the kernel kills
 * it even while it computes.
 */
#ifndef TE_CHILD_H
#define TE_CHILD_H

#include <uv.h>

#include "claims.h"
#include "frame.h"

// Of what te_child_request and te_child_hello are given.
#define TE_CHILD_BYTES_MAX (TE_FRAME_BYTES_MAX - 1024)

typedef struct te_child te_child;

typedef struct te_child_events {
  void (*on_config)(void *arg, te_slice config);  // all slices are borrowed
  // Begins a task: to be ended with te_child_done, at once or later.
  void (*on_task)(void *arg, te_token token, te_slice envelope);
  // is_asked: it should end; else it is to be ended where it waits.
  void (*on_cancel)(void *arg, te_token token, bool is_asked);
  void (*on_reply)(void *arg, uint32_t request, int status, te_slice payload);
  void (*on_item)(void *arg, te_slice item);
  void (*on_link)(void *arg, bool is_up);
  void (*on_quit)(void *arg);  // the master is gone, or wants no more
  void *arg;
} te_child_events;

// On the inherited descriptors of wire.h. 0, or why this is no child.
int te_child_new(uv_loop_t *loop, unsigned index, const te_child_events *events,
                 te_child **out);
void te_child_set_concurrency(te_child *c, unsigned tasks);
void te_child_free(te_child *c);  // before the loop is closed

// Begins to load this file; goes out at once.
void te_child_loads(te_child *c, te_slice path);
// MessagePack: what was loaded, or why this child cannot run anything.
void te_child_hello(te_child *c, bool is_ready, te_slice hello);
// What is to become of the task if its time is over while it runs: a verdict's
// head (verdict.h).
void te_child_bequeath(te_child *c, te_token token, te_slice will);
// The task has ended with this record; on_task may be called within.
void te_child_done(te_child *c, te_token token, te_slice record);
// It waits for another task's outcome and takes no slot, or no more.
void te_child_set_waits(te_child *c, te_token token, bool waits);

// What the task says of itself, at most TE_WIRE_STATE_BYTES_MAX. Goes out at
// once.
void te_child_state(te_child *c, te_token token, te_slice state);

// Which task's code runs from now on; NULL: none. For te_hand_judge.
void te_child_execute(te_child *c, const te_token *token);
// Whether the master asks the task to end; seen at once, unlike on_cancel.
bool te_child_is_asked(const te_child *c, te_token token);

// The caller draws the number. `payload`: function and arguments, each with
// its size (4 bytes) before it.
void te_child_request(te_child *c, uint32_t request, te_slice payload);
// Goes out at once.
void te_child_log(te_child *c, int level, const te_token *about, te_slice text);
void te_child_flush(te_child *c);  // writes what was gathered, blocking

#endif
