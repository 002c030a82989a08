/*
 * json: JSON text <-> MessagePack, for people and other programs at the edges
 * (command line, web page) and for tasks whose sender asked for JSON. The
 * engine itself does not speak it.
 *
 * 10 is an integer and 10.0 a float, both ways; floats are written so that
 * they come back the same, 0.1 as 0.1. Objects are written with their keys in
 * order: equal values are equal texts. What JSON cannot say is refused: NaN,
 * infinities, strings that are not UTF-8, two keys with the same name.
 */
#ifndef TE_JSON_H
#define TE_JSON_H

#include "buf.h"

typedef struct te_json_style {
  const char *root;  // what messages call the value; NULL: "value"
  int indent;        // spaces for each level; 0: all on one line
  bool lossy;        // U+FFFD for a byte that is not UTF-8, no refusal, even
                     // where two keys look the same then
  bool exact;        // refuses keys that would not come back as they are
  int depth_max;     // at most TE_TRAIL_STEPS_MAX; 0: TE_VALUE_DEPTH_MAX
  size_t bytes_max;  // of the text; 0: as large as it gets
} te_json_style;

// What takes n bytes as JSON takes less than this many times n as MessagePack.
#define TE_JSON_PACKED_RATIO 3

/*
 * Appends the one value in `text`, `depth_max` deep at most. Returns 0; or
 * TE_EMALFORMED, TE_EDEPTH, TE_ECANNOT (a number beyond 64 bits) or TE_ELIMIT
 * with a sentence in `why`, line and column in it where there are such. Then
 * `out` is as it was.
 */
int te_json_parse(te_slice text, int depth_max, te_buf *out, char *why,
                  size_t why_size);

/*
 * Appends the text of the one value in `packed`. Returns 0; or TE_ECANNOT,
 * with `result.x[3]: nan cannot be written as JSON` in `why`, TE_ELIMIT,
 * TE_EMALFORMED or TE_EDEPTH. Then `out` is as it was.
 */
int te_json_write(te_slice packed, const te_json_style *style, te_buf *out,
                  char *why, size_t why_size);

#endif
