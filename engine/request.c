#include "request.h"

#include <string.h>

// After the mode: the field.
#define REQUEST_BYTES (1 + TE_FIELD_BYTES)

enum mode { ENDING = 'c', ORDER = 't' };

int te_request_read(te_slice bytes, te_request *out) {
  if (bytes.size != REQUEST_BYTES) return TE_EPROTO;
  if (bytes.data[0] != ENDING && bytes.data[0] != ORDER) return TE_EPROTO;
  out->is_order = bytes.data[0] == ORDER;
  out->field = te_slice_of(bytes.data + 1, TE_FIELD_BYTES);
  return 0;
}

void te_requests_init(te_requests *r) {
  te_map_init(&r->early);
}

// The key is the value.
void te_requests_keep(te_requests *r, te_slice field) {
  if (r->early.count >= TE_REQUESTS_MAX) return;
  char *copy = te_slice_dup(field);
  te_free(te_map_set(&r->early, te_slice_of(copy, field.size), copy));
}

bool te_requests_take(te_requests *r, te_slice field) {
  if (r->early.count == 0) return false;
  char *copy = te_map_take(&r->early, field);
  te_free(copy);
  return copy != NULL;
}

void te_requests_clear(te_requests *r) {
  size_t cursor = 0;
  void *copy;
  while ((copy = te_map_next(&r->early, &cursor, NULL)) != NULL)
    te_free(copy);
  te_map_free(&r->early);
}
