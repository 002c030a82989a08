/*
 * fcall: calls of the function library, built argument by argument.
 */
#ifndef TE_FCALL_H
#define TE_FCALL_H

#include "redis.h"

// FCALL of a function with `argc` arguments, to be added; te_redis_end ends.
void te_fcall_begin(te_redis *r, const char *prefix, const char *function,
                    size_t argc);
void te_fcall_add_str(te_redis *r, const char *text);
void te_fcall_add_number(te_redis *r, uint64_t v);
// For te1_reap: the outcome of a task with which too many workers were lost.
void te_fcall_add_poisoned(te_redis *r);

// The reply says that the worker has no lease any more.
bool te_fcall_is_fenced(const te_reply *reply);

#endif
