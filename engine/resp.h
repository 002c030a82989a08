/*
 * resp: the words of Redis' protocol, RESP2: commands out, replies in.
 *
 * The reader is fed bytes as they arrive, in any pieces, and hands out whole
 * replies; it does no I/O. hiredis' reader does the parsing. A reply is built
 * in memory that is used again for the next, so that one of hundreds of
 * strings costs no allocation for each.
 *
 * Replies are data from outside: depth, number of elements and sizes are
 * limited, and what goes over a limit or is no RESP ends the stream.
 */
#ifndef TE_RESP_H
#define TE_RESP_H

#include "buf.h"

#define TE_RESP_STRING_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define TE_RESP_REPLY_BYTES_MAX  ((size_t)128 * 1024 * 1024)  // in memory
#define TE_RESP_ELEMENTS_MAX     ((size_t)1024 * 1024)        // of one array
#define TE_RESP_DEPTH_MAX        7                            // nested arrays

typedef enum te_reply_type {
  TE_REPLY_NIL,
  TE_REPLY_INTEGER,
  TE_REPLY_STRING,  // bulk
  TE_REPLY_STATUS,  // +OK
  TE_REPLY_ERROR,
  TE_REPLY_ARRAY,
} te_reply_type;

typedef struct te_reply {
  te_reply_type type;
  int64_t integer;         // TE_REPLY_INTEGER
  te_slice text;           // TE_REPLY_STRING, _STATUS, _ERROR
  size_t count;            // TE_REPLY_ARRAY
  struct te_reply **item;  // count of them
} te_reply;

// Whether it is an error whose text begins with `head`, "NOAUTH" say.
bool te_reply_is_error(const te_reply *reply, const char *head);

typedef struct te_resp te_resp;

te_resp *te_resp_new(void);     // caller frees with te_resp_free
void te_resp_free(te_resp *p);  // NULL is fine

// `bytes` is borrowed until te_resp_next answers anything but 1.
void te_resp_feed(te_resp *p, te_slice bytes);

/*
 * Takes the next whole reply. Returns 1 and fills `out`, 0 when more bytes
 * are needed, TE_EPROTO or TE_ELIMIT; after these the stream is lost.
 * `out` borrows from `p`, until the next call.
 */
int te_resp_next(te_resp *p, const te_reply **out);

// A command is an array of strings: its head, then each argument.
void te_resp_add_array(te_buf *out, size_t count);
void te_resp_add_string(te_buf *out, te_slice text);

#endif
