#include "fcall.h"

#include <inttypes.h>
#include <stdio.h>

#include "record.h"

void te_fcall_begin(te_redis *r, const char *prefix, const char *function,
                    size_t argc) {
  te_redis_begin(r, 4 + argc);
  te_fcall_add_str(r, "FCALL");
  te_fcall_add_str(r, function);
  te_fcall_add_str(r, "1");
  te_fcall_add_str(r, prefix);
}

void te_fcall_add_str(te_redis *r, const char *text) {
  te_redis_add(r, te_slice_str(text));
}

void te_fcall_add_number(te_redis *r, uint64_t v) {
  char text[24];
  int n = snprintf(text, sizeof(text), "%" PRIu64, v);
  te_redis_add(r, te_slice_of(text, (size_t)n));
}

void te_fcall_add_poisoned(te_redis *r) {
  te_buf outcome;
  te_buf_init(&outcome);
  te_record_failure(&outcome, "WorkerLost",
                    "worker after worker was lost while it held the task");
  te_redis_add(r, te_buf_slice(&outcome));
  te_buf_free(&outcome);
}

bool te_fcall_is_fenced(const te_reply *reply) {
  return reply->type == TE_REPLY_ARRAY && reply->count == 1 &&
         reply->item[0]->type == TE_REPLY_STRING &&
         te_slice_equal(reply->item[0]->text, te_slice_str("FENCED"));
}
