/*
 * printset: a set of fingerprints, of any size, in little memory.
 *
 * When it has as many as memory is to have, they go to a file that has no name
 * any more, in portions that are ordered by one of their bytes. In the end
 * those that have this byte in common are counted together, and by their next
 * byte if there are still too many.
 *
 * An error is kept, and ends all that comes after it: printset_error.
 */
#ifndef PRINTSET_H
#define PRINTSET_H

#include <stddef.h>
#include <stdint.h>

#define PRINTSET_SLOTS_MIN 1024u
#define PRINTSET_SLOTS_MAX (1u << 28)

// Drawn at random, by and large; both zero stand for none.
typedef struct {
  uint64_t slot;  // where it is in memory
  uint64_t part;  // its bytes say where it is in the file
} printset_print;

typedef struct printset printset;

/*
 * Borrows nothing. `folder` is where the file is made when it is needed; at
 * most `slots_max` prints of 16 bytes, a power of two, are in memory.
 * Returns NULL when memory is out.
 */
printset *printset_new(const char *folder, size_t slots_max);
void printset_free(printset *set);  // NULL is fine

void printset_add(printset *set, printset_print print);

/*
 * How many different prints were added. Empties the set.
 */
uint64_t printset_count(printset *set);

/*
 * The number of the system's first error; 0 when there was none.
 */
int printset_error(const printset *set);

#endif
