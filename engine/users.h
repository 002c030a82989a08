/*
 * users: the open connections to a supervisor's control socket.
 *
 * A user is a connection: it says nothing, it is there as long as its process
 * lives and wants the server. The supervisor writes lines:
 *
 *   ready SOCKET      redis-server answers there
 *   wait              it does not at the moment; another line will follow
 *   failed CODE TEXT  it cannot be started; the connection ends here
 *
 * Who belongs to another user of the system, sends anything, or does not read
 * its lines is cut off.
 */
#ifndef TE_USERS_H
#define TE_USERS_H

#include <poll.h>

#include "instance.h"

#define TE_USERS_MAX 10000  // redis-server takes no more either

typedef struct te_users te_users;

/*
 * Listens on `path`, in place of whatever lies there: only for the one who
 * holds the lock. NULL on failure, with a code and a sentence in `why`.
 */
te_users *te_users_new(const char *path, int *code, te_why *why);
void te_users_close_listener(te_users *u);  // removes the path; lets no one in
void te_users_free(te_users *u);            // closes all; NULL is fine

// Whether the path still leads to this socket.
bool te_users_can_be_found(const te_users *u);

size_t te_users_count(const te_users *u);

// Fills in what to wait for: room for te_users_count + 1 entries. Returns how
// many it filled.
size_t te_users_fill_poll(const te_users *u, struct pollfd *polls);

/*
 * After poll: forgets who has gone and lets in who knocked, greeting each
 * with `line` if that is not NULL. `polls` is as te_users_fill_poll left it,
 * and poll(2) after that; te_users_tell must not come between.
 */
void te_users_step(te_users *u, const struct pollfd *polls, const char *line);

void te_users_tell(te_users *u, const char *line);

#endif
