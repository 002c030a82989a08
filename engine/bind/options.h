/*
 * options: reading a table of options. Those of them that check raise on
 * misuse.
 */
#ifndef TE_BIND_OPTIONS_H
#define TE_BIND_OPTIONS_H

#include <lua.h>

// Refuses names that are not in `known`, which ends with NULL.
void te_bind_check_options(lua_State *L, int opts, const char *const *known);

/*
 * Pushes a field and returns its type. Raw: a string that an __index made up
 * would be gone as soon as it is off the stack.
 */
int te_bind_raw_field(lua_State *L, int table, const char *name);

// NULL when missing; borrowed from the table.
const char *te_bind_string_option(lua_State *L, int opts, const char *key);

// 0 when missing, else from 1 to `max`.
lua_Integer te_bind_integer_option(lua_State *L, int opts, const char *key,
                                   lua_Integer max);

// Pushes a function; nil when missing.
void te_bind_fn_option(lua_State *L, int opts, const char *key);

#endif
