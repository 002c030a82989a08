/*
 * redis_process: one redis-server process on the folder of an instance.
 *
 * At most one may write to a folder. So a server is started with a locked
 * descriptor of the folder's redis.lock that it knows nothing of; its own
 * children inherit it too. The lock is free when the last of them is gone,
 * however they ended and whoever started them, and then only is the next one
 * started. The file holds the process id of the server, for people.
 *
 * A server dies with its supervisor (SIGTERM, upon which it saves and ends).
 * SIGKILL loses no more than that: Redis hands each change to the kernel
 * before it answers, and only a crash of the machine loses up to a second.
 */
#ifndef TE_REDIS_PROCESS_H
#define TE_REDIS_PROCESS_H

#include <sys/types.h>

#include "instance.h"

/*
 * Takes the lock: a descriptor that the caller closes, UV_EAGAIN while a
 * server holds it, or another code with `why`.
 */
int te_redis_process_lock(const te_instance *i, te_why *why);

// Kills the processes that hold the lock, and nothing else.
void te_redis_process_kill_holders(const te_instance *i);

/*
 * Starts a server that inherits `lock`, which the caller closes then. Returns
 * its process id, TE_ENOSERVER when none is installed, or another code, each
 * with `why`. log_start is where its lines begin in the log.
 */
int te_redis_process_spawn(const te_instance *i, int lock, off_t *log_start,
                           te_why *why);

/*
 * Why a server ended: `status` of waitpid and the last lines that it wrote
 * to its log from log_start on. Always TE_EDOWN.
 */
int te_redis_process_explain(const te_instance *i, off_t log_start, int status,
                             te_why *why);

#endif
