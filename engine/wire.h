/*
 * wire: what a master and a child say to each other.
 *
 * Frames (frame.h) over a socket pair; the first byte is the kind, the rest
 * as written beside it. Numbers are big-endian. A *token* is the number of a
 * claim (claims.h) and its generation, 4 bytes each.
 */
#ifndef TE_WIRE_H
#define TE_WIRE_H

#include "buf.h"
#include "claims.h"

typedef enum te_wire_kind {
  // master to child
  TE_WIRE_CONFIG = 'C',  // MessagePack: what to load
  TE_WIRE_TASK = 'T',    // token, envelope
  TE_WIRE_REPLY = 'R',   // request, status (4), MessagePack or a sentence
  TE_WIRE_ITEM = 'O',    // an outcome that was waited for: id, record
  TE_WIRE_LINK = 'U',    // 1: Redis can be reached, 0: it cannot
  TE_WIRE_CANCEL = 'X',  // token; 1: it is asked to end, 0: where it waits, now
  TE_WIRE_QUIT = 'Q',    // end once nothing runs
  // child to master
  TE_WIRE_LOADS = 'F',    // a file that it begins to load: its path
  TE_WIRE_HELLO = 'H',    // 1: ready, 0: not; MessagePack: what, or why not
  TE_WIRE_DONE = 'D',     // token, run time in us (4), record
  TE_WIRE_WAITS = 'W',    // token, 1: waits for another task, 0: no more
  TE_WIRE_STATE = 'S',    // token, what it says of itself (MessagePack)
  TE_WIRE_REQUEST = 'A',  // request (4), function, arguments: size (4), bytes
  TE_WIRE_LOG = 'L',      // token or zeros, level (1), text
} te_wire_kind;

#define TE_WIRE_CHANNEL_FD 3  // in a child: the socket
#define TE_WIRE_CLAIMS_FD  4  // in a child: the claims, until it has them

#define TE_WIRE_STATE_BYTES_MAX ((size_t)16 * 1024)

// What a kind does not have is zero.
typedef struct te_wire {
  te_wire_kind kind;
  te_token token;
  uint32_t request;
  uint32_t number;   // status, run time
  uint8_t byte;      // 0 or 1, level
  te_slice payload;  // what follows
} te_wire;

// Appends a frame. 0, or TE_ELIMIT (nothing was appended).
int te_wire_add(te_buf *out, const te_wire *w);

// Reads what is in a frame; the payload borrows from it. 0 or TE_EPROTO.
int te_wire_read(te_slice frame, te_wire *w);

#endif
