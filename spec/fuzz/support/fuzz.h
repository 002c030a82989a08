/*
 * fuzz: what the fuzzers share. Each of them is a file in the folder above, a
 * target of libFuzzer with a fuzz_one of its own: it takes any bytes, and
 * besides that nothing breaks it checks what must hold of whatever could be
 * read, mostly that it is read as the same when it was written again. That it
 * keeps no memory is checked after each input.
 */
#ifndef TE_FUZZ_H
#define TE_FUZZ_H

#include <assert.h>

#include <lua.h>

#include "buf.h"

void fuzz_one(te_slice bytes);

// The one Lua state, with its stack empty.
lua_State *fuzz_lua(void);

// Pushes taskengine.core.testing.codec.NAME.
void fuzz_push_reference(lua_State *L, const char *name);

// Whether both values are the same: types, bits of floats, all in tables.
bool fuzz_same(lua_State *L, int a, int b);

// Takes the values above `place` off the stack and pushes them as a list with
// its `n`, there.
void fuzz_collect(lua_State *L, int place);

/*
 * Sizes of pieces to cut a stream into, from 1 to 32, which follow from the
 * input's first byte.
 */
typedef struct fuzz_pieces {
  te_slice rest;
  uint32_t state;
} fuzz_pieces;

fuzz_pieces fuzz_cut(te_slice bytes);
te_slice fuzz_next_piece(fuzz_pieces *p);  // empty at the end

#endif
