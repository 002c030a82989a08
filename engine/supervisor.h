/*
 * supervisor: the process that keeps an embedded Redis as long as it is used.
 *
 * It holds supervisor.lock for its life, listens on the control socket (see
 * users.h), keeps the server running (see redis_server.h) and stops it when
 * there has been no user for the linger time. Whoever finds the lock taken
 * ends at once: somebody else won the race.
 *
 * It polls by itself instead of with libuv, because it may run in a process
 * forked from any Lua program (see launch.h), where libuv's own descriptors
 * and threads are the parent's.
 *
 * No user is lost between an end and the next beginning. The last steps of a
 * supervisor are: the server is stopped while the socket still lets users in;
 * if none came, the socket's path is removed, then the socket is closed, then
 * the lock is released, by the end of the process. A user who connects
 *   - before the socket is closed and is let in: the server is started again;
 *   - before it is closed but was not let in: sees the end of the connection;
 *   - after the path was removed: finds nothing.
 * In both latter cases it starts a supervisor itself. That one may find the
 * lock not yet released and end at once; the user then sees no socket and
 * tries again after a moment, until its time is up. And since the path is
 * made and removed only under the lock, nobody removes the path of another.
 */
#ifndef TE_SUPERVISOR_H
#define TE_SUPERVISOR_H

// Seconds, a decimal number: instead of 10, for specs.
#define TE_SUPERVISOR_LINGER_ENV "TASKENGINE_EMBEDDED_LINGER"

/*
 * Runs the supervisor of the instance `name` and returns the process's exit
 * code: 0 after an orderly end or when another one runs, 1 when the server
 * could not be started or the folder not used. As long as it cannot listen it
 * says what is wrong on stderr ("failed CODE TEXT"); after that stderr is
 * supervisor.log in the instance's folder.
 */
int te_supervisor_run(const char *name);

#endif
