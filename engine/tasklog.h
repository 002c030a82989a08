/*
 * tasklog: the lines of a worker's log that are about one task.
 *
 * All of them have its name and id, as text in front, `name[id]`, so that the
 * life of a task can be found among those of others.
 */
#ifndef TE_TASKLOG_H
#define TE_TASKLOG_H

#include "log.h"
#include "task.h"

// How it ended; run_us: how long it ran, 0 when that is not known.
void te_tasklog_end(const te_task *t, uint32_t run_us);

// What a child says: of a task, from task_level on, whatever else is logged;
// or (NULL) of none. A level that is none is TE_LOG_INFO.
void te_tasklog_say(te_log_level task_level, int level, const te_task *about,
                    te_slice text);

#endif
