/*
 * launch: starts the supervisor of an embedded Redis as nobody's child.
 *
 * It must outlive who starts it, so it is made by forking twice, in a session
 * of its own. Wherever the taskengine program can be found it then executes
 * `taskengine supervise NAME`, a clean small process: TASKENGINE_PROGRAM
 * names it (empty: none), or this process runs it, or it was built or
 * installed beside core.so. Otherwise (core.so alone, in any Lua program) the
 * supervisor runs in the forked process itself, with everything of the parent
 * closed; that costs nothing but shows the parent's name in the process list.
 */
#ifndef TE_LAUNCH_H
#define TE_LAUNCH_H

#include <stdbool.h>

/*
 * Returns a descriptor that tells what the supervisor says on stderr until it
 * listens or ends, and then ends; the caller closes it. Or a negative code.
 * Does not wait for any of that. `may_execute` is false to do without the
 * program, which may be broken or of a version that knows no `supervise`.
 */
int te_launch_supervisor(const char *name, bool may_execute);

#endif
