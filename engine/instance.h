/*
 * instance: where an embedded Redis lives: its folders, sockets and files.
 *
 *   folder   $XDG_STATE_HOME/taskengine/NAME, else ~/.local/state/...
 *   socket   $XDG_RUNTIME_DIR/taskengine/NAME.sock, else redis.sock in the
 *            folder, when that variable names no folder of this user
 *   control  the supervisor's own socket, beside the other: NAME.ctl, or
 *            supervisor.ctl in the folder
 *
 * Two processes of one user may see different runtime folders (a login, a
 * cron job), but they share the data. So the supervisor notes in its lock
 * file where it listens, and who looks for it reads that, never a path that
 * was made up from its own environment.
 */
#ifndef TE_INSTANCE_H
#define TE_INSTANCE_H

#include "te.h"

// A sentence for people: one line, cut when too long.
typedef struct te_why {
  char text[512];
} te_why;

// Returns `code`. Control characters become blanks.
int te_why_set(te_why *why, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

typedef struct te_instance {
  char *name;
  char *folder;
  char *socket;
  char *control;
} te_instance;

/*
 * Works out the paths; touches nothing. 0, or UV_EINVAL for a bad name or a
 * path with a line break, UV_ENAMETOOLONG when a socket's path has more bytes
 * than the system takes, UV_ENOENT when there is no home folder; `out` is then
 * empty. Free with te_instance_free, which an empty (zeroed) one bears.
 */
int te_instance_init(te_instance *out, const char *name, te_why *why);
void te_instance_free(te_instance *i);

/*
 * Makes the folders that are missing, with mode 0700, and checks that they
 * belong to this user, that nobody else may write there and that we may.
 * UV_EACCES, or what else went wrong, with the folder in `why`.
 */
int te_instance_make_folders(const te_instance *i, te_why *why);

char *te_instance_file(const te_instance *i, const char *name);  // caller frees

/*
 * Notes in the supervisor's lock file, which `fd` is, that it listens on
 * i->control. 0 or a code.
 */
int te_instance_write_address(const te_instance *i, int fd);

/*
 * Where the supervisor said it listens; caller frees. NULL when none ever
 * ran. That it says so does not mean that it still lives.
 */
char *te_instance_read_address(const te_instance *i);

#define TE_INSTANCE_LOCK "supervisor.lock"  // in the folder, with the address

#endif
