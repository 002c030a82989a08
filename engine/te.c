#include "te.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#ifdef TE_TESTING
// Threads of libuv's pool allocate too, so the count is atomic.
static atomic_size_t live_count;

size_t te_alloc_live(void) {
  return atomic_load_explicit(&live_count, memory_order_relaxed);
}
#endif

te_slice te_slice_str(const char *text) {
  return te_slice_of(text, text == NULL ? 0 : strlen(text));
}

bool te_slice_equal(te_slice a, te_slice b) {
  // memcmp must not see the NULL of an empty slice.
  return a.size == b.size &&
         (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

// uv_strerror allocates (and leaks) for a code that it does not know.
const char *te_strerror(int code) {
  switch (code) {
#define X(name, number, text)                                                  \
  case TE_##name: return text;
    TE_ERRORS(X)
#undef X
#define X(name, text)                                                          \
  case UV_##name: return text;
    UV_ERRNO_MAP(X)
#undef X
    case 0: return "no error";
    default: return "unknown error";
  }
}

const char *te_errname(int code) {
  switch (code) {
#define X(name, number, text)                                                  \
  case TE_##name: return #name;
    TE_ERRORS(X)
#undef X
#define X(name, text)                                                          \
  case UV_##name: return #name;
    UV_ERRNO_MAP(X)
#undef X
    case 0: return "OK";
    default: return "UNKNOWN";
  }
}

static _Noreturn void die_out_of_memory(size_t size) {
  fprintf(stderr, "taskengine: out of memory (%zu bytes wanted)\n", size);
  abort();
}

// malloc(0) may answer NULL, and NULL must mean failure and nothing else.
static size_t at_least_one(size_t size) {
  return size == 0 ? 1 : size;
}

static void *check(void *p, size_t size) {
  if (p == NULL) die_out_of_memory(size);
#ifdef TE_TESTING
  atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
#endif
  return p;
}

void *te_alloc(size_t size) {
  return check(malloc(at_least_one(size)), size);
}

void *te_alloc_zero(size_t n, size_t size) {
  n = at_least_one(n);
  size = at_least_one(size);
  // calloc refuses a product that overflows.
  return check(calloc(n, size), n > SIZE_MAX / size ? SIZE_MAX : n * size);
}

void *te_realloc(void *p, size_t size) {
  if (p == NULL) return te_alloc(size);
  void *moved = realloc(p, at_least_one(size));
  if (moved == NULL) die_out_of_memory(size);
  return moved;
}

char *te_strdup(const char *text) {
  return te_slice_dup(te_slice_str(text));
}

char *te_slice_dup(te_slice slice) {
  char *copy = te_alloc(slice.size + 1);
  if (slice.size > 0) memcpy(copy, slice.data, slice.size);
  copy[slice.size] = '\0';
  return copy;
}

void te_free(void *p) {
#ifdef TE_TESTING
  if (p != NULL) {
    size_t before =
        atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
    assert(before > 0);
  }
#endif
  free(p);
}

void te_random(void *out, size_t size) {
  int rc = uv_random(NULL, NULL, out, size, 0, NULL);
  if (rc == 0) return;
  fprintf(stderr, "taskengine: no random bytes: %s\n", te_strerror(rc));
  abort();
}
