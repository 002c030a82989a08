/*
 * stream: bytes to and from a Unix socket or a TCP peer, over libuv.
 *
 * Knows nothing of Redis. TLS will slot in here, between the bytes and the
 * socket. Writes are gathered: what is appended to the out buffer while a
 * write is under way goes out with the next one, in one system call.
 *
 * Life: new -> connect -> (on_data ...) -> close. A stream is used for one
 * connection; whoever wants another makes another. close is asynchronous,
 * twice is harmless; from then on no event but on_close comes, and after that
 * one the stream frees itself.
 */
#ifndef TE_STREAM_H
#define TE_STREAM_H

#include <uv.h>

#include "buf.h"
#include "url.h"

typedef struct te_stream te_stream;

typedef struct te_stream_events {
  void (*on_connect)(void *arg, int status);   // 0, or why not
  void (*on_data)(void *arg, te_slice bytes);  // bytes borrowed for the call
  void (*on_lost)(void *arg, int status);      // UV_EOF, or reading failed
  void (*on_close)(void *arg);                 // the last event
  void *arg;
} te_stream_events;

// `events` is copied, here and wherever else such a table is handed over.
te_stream *te_stream_new(uv_loop_t *loop, const te_stream_events *events);

/*
 * Starts to connect: to host and port (resolving the name), or to a Unix
 * socket. The outcome comes to on_connect, at the latest after timeout_ms
 * (UV_ETIMEDOUT).
 */
void te_stream_connect_tcp(te_stream *s, const char *host, int port,
                           uint64_t timeout_ms);
void te_stream_connect_unix(te_stream *s, const char *path,
                            uint64_t timeout_ms);

// Append here, then flush. Borrowed until the next call into the stream.
te_buf *te_stream_out(te_stream *s);
void te_stream_flush(te_stream *s);

void te_stream_close(te_stream *s);

#endif
