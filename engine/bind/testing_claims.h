/*
 * testing_claims: what the bindings for specs of claims and hands share.
 */
#ifndef TE_BIND_TESTING_CLAIMS_H
#define TE_BIND_TESTING_CLAIMS_H

#include <lua.h>

#include "claims.h"

te_claims *te_bind_check_claims(lua_State *L, int arg);
te_token te_bind_check_token(lua_State *L, int arg);
void te_bind_push_token(lua_State *L, te_token token);

#endif
