/*
 * sha256: a digest that nobody can find two texts for (FIPS 180-4).
 *
 * It names what unique tasks have in common. Arguments may come from anyone: a
 * weaker digest would let one make tasks that keep another's from being made.
 */
#ifndef TE_SHA256_H
#define TE_SHA256_H

#include "te.h"

#define TE_SHA256_BYTES 32

void te_sha256(te_slice bytes, unsigned char out[TE_SHA256_BYTES]);

#endif
