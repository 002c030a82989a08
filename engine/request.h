/*
 * request: that a task should end, as Redis tells its worker
 * (docs/protocol.md).
 *
 * One may come before its task: a fetch and the bell are two connections. Such
 * are kept until the fetch that is under way then has been answered. One that
 * is lost all the same comes again with a heartbeat. Logic only. Embedded in
 * whoever hears of both.
 */
#ifndef TE_REQUEST_H
#define TE_REQUEST_H

#include "claims.h"
#include "map.h"

#define TE_REQUESTS_MAX 1000  // that are kept

typedef struct te_request {
  te_slice field;  // borrows
  bool is_order;   // the task is killed if it goes on
} te_request;

// 0 or TE_EPROTO.
int te_request_read(te_slice bytes, te_request *out);

typedef struct te_requests {
  te_map early;  // by field
} te_requests;

void te_requests_init(te_requests *r);
// Of a task that is not known; forgets it when there are too many.
void te_requests_keep(te_requests *r, te_slice field);
// Whether there is one for this task, which has come.
bool te_requests_take(te_requests *r, te_slice field);
// None of those that are kept is of use any more.
void te_requests_clear(te_requests *r);

#endif
