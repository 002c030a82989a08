/*
 * pipeline: the calls of one connection to Redis, in order, whatever becomes
 * of the connection.
 *
 *   sent    on their way; the next reply belongs to the first of them
 *   again   FCALLs that found no function library, to be sent once more
 *   later   made while the library is being declared
 *   failed  made while the connection was down, to be told so
 *
 * Does no I/O: commands are written into the buffer of the connection. Those
 * of an FCALL are kept until its reply, for a server that has lost the
 * library. Life: new -> (begin, add, end ... take_reply, lose) -> close.
 */
#ifndef TE_PIPELINE_H
#define TE_PIPELINE_H

#include "resp.h"

typedef struct te_pipeline te_pipeline;

// Called once for each call: 0 and its reply, or a code and NULL.
typedef void (*te_pipeline_cb)(void *arg, int status, const te_reply *reply);

typedef enum te_call_kind {
  TE_CALL_NONE,  // nothing is under way
  TE_CALL_USER,
  TE_CALL_GREET,  // stands for all of greet.h's commands, until the last
  TE_CALL_PING,
} te_call_kind;

te_pipeline *te_pipeline_new(bool has_library);
// Fails all calls with TE_ECLOSED, then frees; NULL is fine.
void te_pipeline_close(te_pipeline *p);

/*
 * Writes a command into `out`, which is borrowed until end; NULL when the
 * connection is down: the call will fail with `status`. While the pipeline
 * is held the command waits inside it.
 */
void te_pipeline_begin(te_pipeline *p, te_buf *out, size_t argc);
void te_pipeline_add(te_pipeline *p, te_slice arg);
void te_pipeline_end(te_pipeline *p, uint64_t block_ms, int status,
                     te_pipeline_cb cb, void *arg);
// A command that the connection has written on its own account.
void te_pipeline_add_own(te_pipeline *p, te_call_kind kind);
void te_pipeline_take_own(te_pipeline *p);  // takes the first, one of these

// Whose reply comes next, and how long the server may block before it.
te_call_kind te_pipeline_first(const te_pipeline *p, uint64_t *block_ms);

/*
 * Hands the reply to the first call, a user's. True when the call was not
 * carried out because the server has no such function: it will be sent again
 * by resume, and the library has to be declared before.
 */
bool te_pipeline_take_reply(te_pipeline *p, const te_reply *reply);

// From hold to resume new calls wait; resume writes them and those to repeat.
void te_pipeline_hold(te_pipeline *p);
bool te_pipeline_is_held(const te_pipeline *p);
void te_pipeline_resume(te_pipeline *p, te_buf *out);

// The connection is lost: TE_ELOST for what was sent, TE_EDOWN for the rest.
void te_pipeline_lose(te_pipeline *p);
void te_pipeline_tell_failed(te_pipeline *p);

#endif
