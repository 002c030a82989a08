/*
 * heir: takes over from masters on this host that died without leaving.
 *
 * A dead master left its claims behind, which nobody locks any more. So what
 * it held is known here, and need not wait for the end of its lease: what had
 * ended is told in its name, what had begun is lost once, the rest goes back
 * unspent. The claims go when Redis has confirmed that; those of a master that
 * served another broker or namespace stay for its own heirs, because here
 * nobody knows of its lease. Drafts of claims, of masters that died while they
 * started, go too.
 */
#ifndef TE_HEIR_H
#define TE_HEIR_H

#include <uv.h>

#include "redis.h"

typedef struct te_heir te_heir;

typedef struct te_heir_options {
  const char *dir;       // where claims lie, of this master too; copied
  const char *own_path;  // not to be looked at; copied
  te_redis *redis;       // kept
  const char *prefix;    // copied
  const char *service;   // of TE_CLAIMS_SERVICE_BYTES; copied
  uint64_t lease_ms;
} te_heir_options;

te_heir *te_heir_new(uv_loop_t *loop, const te_heir_options *options);
/*
 * Looks, now that Redis can be reached; and some times more, because the
 * kernel may not have killed all of a dead master's children yet.
 */
void te_heir_look(te_heir *h);
void te_heir_close(te_heir *h);  // asynchronous, frees itself; NULL is fine

#endif
