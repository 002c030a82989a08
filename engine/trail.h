/*
 * trail: where in a nested value something is wrong: `args[2].on_done`.
 *
 * Whoever walks into a value notes the key of each container on the way, at
 * the price of a store; the text is made only when something is refused.
 */
#ifndef TE_TRAIL_H
#define TE_TRAIL_H

#include "pack.h"

// A list of arguments, and in it values of the greatest depth.
#define TE_TRAIL_STEPS_MAX (TE_VALUE_DEPTH_MAX + 1)

// Room for the sentence that says what was refused and where.
#define TE_WHY_BYTES_MAX 320

typedef struct te_trail {
  const char *root;  // "args", "result": what the whole value is called
  size_t depth;      // steps taken
  te_item steps[TE_TRAIL_STEPS_MAX];  // keys; an array's count from 1
} te_trail;

/*
 * Writes "PATH: " and the formatted sentence. A long key or path is cut and
 * ends with "..."; control characters are escaped. Truncates to `size`, as
 * snprintf does.
 */
void te_trail_say(const te_trail *trail, char *why, size_t size,
                  const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// The same of a whole that takes more than `bytes_max` bytes; NULL: "value".
void te_trail_say_too_large(const char *root, size_t bytes_max, char *why,
                            size_t size);

#endif
