/*
 * wire: what a master and a child say to each other.
 *
 * Frames (frame.h) over a socket pair; the first byte is the kind, the rest
 * as written beside it. Numbers are big-endian. A *token* is the number of a
 * claim (claims.h) and its generation, 4 bytes each.
 */
#ifndef TE_WIRE_H
#define TE_WIRE_H

enum te_wire_kind {
  // master to child
  TE_WIRE_CONFIG = 'C',  // MessagePack: what to load
  TE_WIRE_TASK = 'T',    // token, envelope
  TE_WIRE_REPLY = 'R',   // request, status (4), MessagePack or a sentence
  TE_WIRE_ITEM = 'O',    // an outcome that was waited for: id, record
  TE_WIRE_LINK = 'U',    // 1: Redis can be reached, 0: it cannot
  TE_WIRE_CANCEL = 'X',  // token: end the task where it waits
  TE_WIRE_QUIT = 'Q',    // end once nothing runs
  // child to master
  TE_WIRE_HELLO = 'H',    // MessagePack: what was loaded, or why not
  TE_WIRE_DONE = 'D',     // token, run time in us (4), record
  TE_WIRE_WAITS = 'W',    // token, 1: waits for another task, 0: no more
  TE_WIRE_REQUEST = 'A',  // request (4), function, arguments: size (4), bytes
  TE_WIRE_LOG = 'L',      // level (1), token or zeros, text
};

#define TE_WIRE_CHANNEL_FD 3  // in a child: the socket
#define TE_WIRE_CLAIMS_FD  4  // in a child: the claims

#endif
