/*
 * stray: what children write to stderr past the log, as lines of the log.
 *
 * Programs that tasks start, native modules and the C library write to the
 * file descriptors themselves. Where each line of the log is to be an object,
 * they must not write among those. So children get a pipe in place of stderr,
 * which the loop reads. Whoever holds it after the master is gone writes into
 * the void.
 */
#ifndef TE_STRAY_H
#define TE_STRAY_H

#include <uv.h>

#include "te.h"

// 0 or a libuv code: UV_EBUSY when it was started, or has not closed yet. Does
// not keep the loop alive.
int te_stray_start(uv_loop_t *loop);

// What is stdout and stderr to children: STDERR_FILENO unless it is started.
int te_stray_fd(void);

// Logs what is still in the pipe, and closes it within a turn of the loop.
void te_stray_stop(void);

#endif
