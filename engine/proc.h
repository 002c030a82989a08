/*
 * proc: one child process and the channel to it.
 *
 * The child is another instance of the program, spawned, not forked: it has
 * no descriptor of the master's but its end of the channel and the claims,
 * none of its memory and no password of Redis. What is sent in one turn of
 * the loop goes out with one write.
 *
 * Life: new (the process runs) -> frames -> on_end, once the process is gone
 * and all that it had written was read -> free. Killing is the only way to
 * end one early.
 */
#ifndef TE_PROC_H
#define TE_PROC_H

#include <uv.h>

#include "buf.h"

typedef struct te_proc te_proc;

typedef struct te_proc_events {
  // Borrowed for the call. Negative: it breaks the protocol, see on_fault.
  int (*on_frame)(void *arg, te_slice frame);
  // Nothing more is read. The child broke the protocol, closed the channel, or
  // does not read: it should be killed. It may be about to end by itself.
  void (*on_fault)(void *arg, int code);
  // `why`: "killed by signal 9 (Killed)", "exited with status 1"; borrowed.
  void (*on_end)(void *arg, const char *why);
  void *arg;
} te_proc_events;

typedef struct te_proc_options {
  const char *file;  // the program
  char **args;       // NULL-terminated; args[0] too
  int claims_fd;     // becomes TE_WIRE_CLAIMS_FD
} te_proc_options;

// 0, or why it could not be started; caller frees with te_proc_free. The
// options are borrowed for the call.
int te_proc_new(uv_loop_t *loop, const te_proc_options *options,
                const te_proc_events *events, te_proc **out);

// Frames go here (te_frame_begin, te_frame_end), then flush. Borrowed.
te_buf *te_proc_out(te_proc *p);
// Sends at the end of this turn of the loop, or at once when it is much.
void te_proc_flush(te_proc *p);

int te_proc_pid(const te_proc *p);
void te_proc_kill(te_proc *p, int signal);

// After on_end (also from within it). The memory goes when libuv is done.
void te_proc_free(te_proc *p);

#endif
