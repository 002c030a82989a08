/*
 * runtime: a Lua state for the program.
 *
 * The program is one file: `require` finds the modules of the Lua layer
 * (taskengine and taskengine.*) inside it, before any that are installed.
 * TASKENGINE_LUA_DIR names a folder that is looked into first, for work on
 * the Lua layer without building anew.
 */
#ifndef TE_RUNTIME_H
#define TE_RUNTIME_H

#include "te.h"

typedef struct lua_State lua_State;

lua_State *te_runtime_new(void);  // caller frees with te_runtime_free
void te_runtime_free(lua_State *L);

/*
 * lua_pcall with a traceback: calls the function below `nargs` arguments.
 * Returns 0 with `nresults` results on the stack, or Lua's status with the
 * error there: a string has the traceback behind it, an error object is left
 * as it is.
 */
int te_runtime_call(lua_State *L, int nargs, int nresults);

// Runs the command line; returns the program's exit code.
int te_runtime_main(lua_State *L, int argc, char **argv);

#endif
