/*
 * te: the words that every module shares: error codes, slices, memory.
 *
 * A function that can fail returns an int: 0 or more for success, a negative
 * code for a failure. The codes are libuv's own (UV_E*) or ours, which lie
 * below -5000; te_strerror and te_errname know both.
 *
 * te_alloc and its family abort when memory is out and never return NULL.
 * Sizes that come from outside are checked against a TE_*_MAX before.
 */
#ifndef TE_TE_H
#define TE_TE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TE_NAME_BYTES_MAX    128                    // task, queue, namespace
#define TE_MESSAGE_BYTES_MAX ((size_t)1024 * 1024)  // arguments, default
#define TE_RESULT_BYTES_MAX  ((size_t)16 * 1024 * 1024)  // a result, default
#define TE_VALUE_DEPTH_MAX   100

// X(name, code, text): the error codes of this project.
#define TE_ERRORS(X)                                                           \
  X(ELIMIT, -5001, "a size limit was exceeded")                                \
  X(EPROTO, -5002, "the peer broke the protocol")                              \
  X(EBADURL, -5003, "malformed URL")                                           \
  X(ENOTBUILT, -5004, "not built yet")                                         \
  X(EDOWN, -5005, "not connected")                                             \
  X(ELOST, -5006, "the connection was lost before the reply")                  \
  X(EREPLY, -5007, "Redis answered with an error")                             \
  X(EAUTH, -5008, "Redis refused the credentials")                             \
  X(EVERSION, -5009, "this Redis cannot be used")                              \
  X(EMALFORMED, -5010, "malformed data")                                       \
  X(EDEPTH, -5011, "nested too deep")                                          \
  X(ECANNOT, -5012, "a value cannot travel")                                   \
  X(ECLOSED, -5013, "closed")                                                  \
  X(ENOSERVER, -5014, "redis-server is not installed")                         \
  X(EFENCED, -5015, "the lease was lost")

enum te_error {
#define X(name, code, text) TE_##name = (code),
  TE_ERRORS(X)
#undef X
};

typedef struct te_slice {
  const char *data;
  size_t size;
} te_slice;

static inline te_slice te_slice_of(const void *data, size_t size) {
  te_slice slice = {(const char *)data, size};
  return slice;
}

te_slice te_slice_str(const char *text);  // borrows; NULL gives an empty slice
bool te_slice_equal(te_slice a, te_slice b);

const char *te_strerror(int code);  // "connection refused"; never NULL
const char *te_errname(int code);   // "ECONNREFUSED", "ELIMIT"; never NULL

void *te_alloc(size_t size);                 // caller frees with te_free
void *te_alloc_zero(size_t n, size_t size);  // n * size bytes, checked
void *te_realloc(void *p, size_t size);
char *te_strdup(const char *text);
char *te_slice_dup(te_slice slice);  // NUL-terminated copy
void te_free(void *p);               // NULL is fine

// Bytes nobody can foretell; aborts when the system has none to give.
void te_random(void *out, size_t size);

#ifdef TE_TESTING
// Blocks that te_alloc gave and te_free has not had back yet.
size_t te_alloc_live(void);
#endif

#endif
