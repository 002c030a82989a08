/*
 * embedded: a private Redis that starts by itself (embedded://NAME).
 *
 * A supervisor process, one for each name and user, holds the lock, starts
 * redis-server on a Unix socket and counts its users by their open
 * connections to the supervisor's own socket, so that a killed user is gone
 * at once. Ten seconds after the last user it stops the server (which saves
 * what it holds) and ends. Who finds no supervisor starts one; a race ends
 * with one, because the lock file is flocked. The server inherits a second
 * locked descriptor, so a new supervisor never starts a server on a data
 * folder that another still writes.
 *
 *   data    $XDG_STATE_HOME/taskengine/NAME, else ~/.local/state/...
 *   socket  $XDG_RUNTIME_DIR/taskengine/NAME.sock, else beside the data
 *
 * Folders are made with mode 0700. Append-only file, everysec; no TCP port;
 * noeviction.
 *
 * This is the user's side. Below it: instance (the paths), launch (how the
 * supervisor becomes a process of its own), supervisor (its life, and why no
 * user is lost between two of them), users (its socket), redis_server and
 * redis_process.
 */
#ifndef TE_EMBEDDED_H
#define TE_EMBEDDED_H

#include <uv.h>

#include "instance.h"

typedef struct te_embedded te_embedded;

/*
 * status 0: the server answers on `socket` (borrowed for the call).
 * Otherwise a code and a sentence for people in `why`: TE_ENOSERVER names
 * the package to install, UV_EACCES the folder.
 */
typedef void (*te_embedded_cb)(void *arg, int status, const char *socket,
                               const char *why);

// A user of the instance NAME, not connected yet. `name` is copied.
te_embedded *te_embedded_new(uv_loop_t *loop, const char *name);

/*
 * Connects to the supervisor, starting one when there is none, and calls cb
 * once the server answers, within timeout_ms, or with why it does not. cb is
 * called by the loop, never before this returns, and exactly once: in
 * te_embedded_close with TE_ECLOSED at the latest. May be called again, at
 * any time; while the server is known to answer so does this, at once.
 *
 * Once the server answered, the connection is kept and made again when it is
 * lost, so that the server stays even when nobody calls this.
 */
void te_embedded_ensure(te_embedded *e, uint64_t timeout_ms, te_embedded_cb cb,
                        void *arg);

// Where the server answers; NULL while it does not. Borrowed for the turn.
const char *te_embedded_socket(const te_embedded *e);

void te_embedded_close(te_embedded *e);  // asynchronous, frees itself

// Where the instance lives; caller frees both with te_free. 0; or a code, with
// a sentence in `why`.
int te_embedded_paths(const char *name, char **data_dir, char **socket,
                      te_why *why);

/*
 * The supervisor itself: runs until ten seconds after its last user, or
 * SIGTERM, and returns an exit code. Called in a process of its own, by the
 * hidden command `taskengine supervise NAME`.
 */
int te_embedded_supervise(const char *name);

#endif
