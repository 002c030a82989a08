/*
 * scribe: writes to stderr, and lets nobody wait for it.
 *
 * Whoever reads stderr may stop: a pipe is full, a terminal was halted with
 * Ctrl-S. A master that waited for that would lose its lease. So a thread of
 * its own does the writing, and up to 1 MB waits for it.
 *
 * Why a thread: stderr is shared with other programs, so O_NONBLOCK on it
 * would be theirs too. What poll() calls writable may be full again by the
 * time of the write, for children write there as well; and opening it anew
 * is refused for sockets and under another user's id. A blocking write in
 * another thread is right for whatever stderr is. Only regular files, which
 * have no reader to wait for, are written by the caller.
 *
 * The thread starts with the first bytes for it.
 */
#ifndef TE_SCRIBE_H
#define TE_SCRIBE_H

#include "te.h"

#define TE_SCRIBE_BYTES_MAX ((size_t)1024 * 1024)

// Blocks until stderr has taken it all, or cannot: the code of the failure,
// or 0; what it has not taken is left in `lines`. What follows a line that was
// cut off starts on a line of its own.
int te_scribe_write(te_slice *lines);

// Has whole lines written, in time. 0, or why they are not: UV_ENOBUFS when
// too much waits, and nothing is taken until that is on its way; or they alone
// are more than may wait; or a file's code, as te_scribe_write has it.
int te_scribe_add(te_slice *lines);

// Waits until nothing waits any more, for so long at most.
void te_scribe_settle(unsigned limit_ms);

// The same, and ends the thread unless it is stuck: before the process ends.
void te_scribe_stop(unsigned limit_ms);

// In a process that was forked without executing a program: has no thread.
void te_scribe_forget(void);

#endif
