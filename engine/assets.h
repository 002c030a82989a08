/*
 * assets: the files that travel inside the program.
 *
 * The Lua layer and the functions for Redis are turned into C by
 * tools/embed.lua at build time, so that the program is one file. The names
 * are paths below lua/, e.g. "taskengine/init.lua" or
 * "taskengine/functions/queue.lua".
 */
#ifndef TE_ASSETS_H
#define TE_ASSETS_H

#include "te.h"

typedef struct te_embedded_file {
  const char *name;  // NULL ends the list
  const char *data;  // a NUL, not counted in size, follows the bytes
  size_t size;
} te_embedded_file;

extern const te_embedded_file te_embedded_files[];  // sorted by name

// The file of that name, or NULL.
const te_embedded_file *te_embedded_file_find(const char *name);

#endif
