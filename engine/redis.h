/*
 * redis: one connection to a Redis server that comes back by itself.
 *
 * RESP (resp.h) over a te_stream. The connection authenticates, checks that
 * the server can be used (version 7.0 or newer, maxmemory-policy noeviction),
 * declares the function library and selects its database (greet.h); then it
 * is *up*. When it is lost it is tried again: the first time at once, then
 * after pauses that grow (pace.h).
 *
 * Calls made while it is not up fail with TE_EDOWN: they were not carried
 * out. Calls under way when it is lost end with TE_ELOST, and nobody knows
 * whether they were: resending is the caller's decision. When the server
 * answers that a function is not there (FUNCTION FLUSH), the library is
 * declared anew and the call repeated, in order, without the caller's doing.
 * No callback runs before the call that it belongs to has returned.
 *
 * Silence for `timeout_ms` while a reply is due ends the connection (a
 * blocking call adds its own time to that). One on which nothing is due is
 * checked by a PING every 5 s, so that a half-open one is found within 15 s;
 * behind a blocking call only when that is over.
 */
#ifndef TE_REDIS_H
#define TE_REDIS_H

#include <uv.h>

#include "resp.h"
#include "url.h"

typedef struct te_redis te_redis;

/*
 * status is 0 with a reply (possibly TE_REPLY_ERROR), or TE_ELOST, TE_EDOWN,
 * TE_ECLOSED with NULL. The reply is borrowed for the call.
 */
typedef void (*te_redis_reply_cb)(void *arg, int status, const te_reply *reply);

/*
 * Runs before each attempt to connect; must call te_redis_ready once, at
 * once or later. For an embedded URL, which has no socket of its own, it
 * starts the server: te_redis_ready takes what te_embedded_ensure answers.
 */
typedef void (*te_redis_prepare_cb)(void *arg, te_redis *r);

typedef struct te_redis_options {
  const te_url *url;          // this and the names: borrowed for te_redis_new
  const char *client_name;    // CLIENT SETNAME; NULL for none
  const char *library_code;   // borrowed for the connection's life; NULL: none
  const char *library_probe;  // a function that returns the loaded build
  int64_t library_build;      // the build of library_code
  uint64_t timeout_ms;        // 0: 5000; connect and reply
  uint64_t pause_ms_max;      // before an attempt; 0: as pace.h has it
  te_redis_prepare_cb prepare;  // NULL for none; an embedded URL needs one
  void (*on_up)(void *arg, te_redis *r);
  // Lost, or an attempt failed. `why` is a sentence naming the host, free of
  // secrets. fatal: trying again cannot help (credentials, version, policy);
  // it is tried all the same, until somebody mends it or closes.
  void (*on_down)(void *arg, te_redis *r, int code, const char *why,
                  bool fatal);
  void *arg;
} te_redis_options;

te_redis *te_redis_new(uv_loop_t *loop, const te_redis_options *options);
void te_redis_start(te_redis *r);  // connects, and goes on doing so
/*
 * Answers `prepare`: 0 and the socket to use instead of the URL's (NULL: the
 * URL's), or a code and a sentence (NULL: that of the code). All borrowed for
 * the call. Not after te_redis_close.
 */
void te_redis_ready(te_redis *r, int status, const char *socket,
                    const char *why);
// The next attempt is made now, if one is being waited for.
void te_redis_hurry(te_redis *r);
bool te_redis_is_up(const te_redis *r);
// Why it is not up: the last code and sentence; 0 and "" when it is.
int te_redis_why(const te_redis *r, const char **why);

/*
 * Sends one command that may block for block_ms on the server. argv is
 * borrowed for the call. Commands of one turn of the loop go out together.
 * cb may be NULL.
 */
void te_redis_call_blocking(te_redis *r, const te_slice *argv, size_t argc,
                            uint64_t block_ms, te_redis_reply_cb cb, void *arg);

/*
 * For commands that are built piece by piece: begin, argc times add, end.
 * Nothing else may be called on `r` in between. block_ms is 0 where the
 * server answers at once.
 */
void te_redis_begin(te_redis *r, size_t argc);
void te_redis_add(te_redis *r, te_slice arg);
void te_redis_end(te_redis *r, uint64_t block_ms, te_redis_reply_cb cb,
                  void *arg);
// What was added goes out at once, and not when the loop turns.
void te_redis_flush(te_redis *r);

// Ends the connection; calls under way get TE_ECLOSED, then cb is called,
// which may be NULL; the memory goes by itself. Twice is harmless: the second
// cb is not called.
void te_redis_close(te_redis *r, void (*cb)(void *arg), void *arg);

#endif
