/*
 * options: reading a table of options. Each of these raises on misuse.
 */
#ifndef TE_BIND_OPTIONS_H
#define TE_BIND_OPTIONS_H

#include <lua.h>

// Refuses names that are not in `known`, which ends with NULL.
void te_bind_check_options(lua_State *L, int opts, const char *const *known);

// NULL when missing; borrowed from the table.
const char *te_bind_string_option(lua_State *L, int opts, const char *key);

// 0 when missing, else from 1 to `max`.
lua_Integer te_bind_integer_option(lua_State *L, int opts, const char *key,
                                   lua_Integer max);

// Pushes a function; nil when missing.
void te_bind_fn_option(lua_State *L, int opts, const char *key);

#endif
