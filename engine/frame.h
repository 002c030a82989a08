/*
 * frame: length-prefixed messages over a byte stream.
 *
 * The engine and its pool processes talk over socket pairs. A frame is a
 * 4-byte big-endian length and then that many bytes. The decoder is fed bytes
 * as they arrive and hands out whole frames; it does no I/O, so every split
 * of the stream can be tested without a pipe.
 */
#ifndef TE_FRAME_H
#define TE_FRAME_H

#include "buf.h"

#define TE_FRAME_BYTES_MAX ((size_t)64 * 1024 * 1024)

typedef struct te_frame te_frame;

te_frame *te_frame_new(void);     // caller frees with te_frame_free
void te_frame_free(te_frame *f);  // NULL is fine

/*
 * Feeds it: room for `size` bytes to read into, and then how many came.
 * Borrowed, until the next call.
 */
char *te_frame_reserve(te_frame *f, size_t size);
void te_frame_grow(te_frame *f, size_t read);

/*
 * Takes the next whole frame. Returns 1 and fills `out`, 0 when more bytes
 * are needed, or TE_ELIMIT when the peer announces an oversized frame; after
 * that the stream is lost and must be closed.
 * `out` borrows from `f`, until the next reserve, shrink or free.
 */
int te_frame_next(te_frame *f, te_slice *out);

// After the last frame that is there: gives back what a large one took.
void te_frame_shrink(te_frame *f);

/*
 * Writes a frame straight into a buffer: begin, append its bytes, end. The
 * length is filled in by end. `mark` is what begin returned; nothing may be
 * consumed from `b` in between.
 */
size_t te_frame_begin(te_buf *b);
// 0, or TE_ELIMIT when it grew too large; it is taken out of `b` again then.
int te_frame_end(te_buf *b, size_t mark);

#endif
