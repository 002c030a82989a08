#include "task.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "frame.h"
#include "record.h"
#include "verdict.h"

#define CANCEL_MS          1000
#define PAUSE_MS           100  // before a look at one that has not begun
// It has to fit into a frame, with what stands before it there.
#define ENVELOPE_BYTES_MAX (TE_FRAME_BYTES_MAX - 1024)

static void set_delivery(te_task *t, uint32_t delivery) {
  for (int i = TE_FIELD_BYTES - 1; i >= TE_ID_BYTES; i--, delivery >>= 8)
    t->field[i] = (char)(delivery & 0xff);
}

te_task *te_task_new(te_slice envelope, uint32_t delivery) {
  if (envelope.size > ENVELOPE_BYTES_MAX) return NULL;
  te_task *t = te_alloc_zero(1, sizeof(*t) + envelope.size);
  memcpy(t->bytes, envelope.data, envelope.size);
  t->size = envelope.size;
  if (te_envelope_read(te_slice_of(t->bytes, t->size), &t->envelope) < 0) {
    te_free(t);
    return NULL;
  }
  te_list_init(&t->link);
  te_list_init(&t->news);
  memcpy(t->field, t->bytes, TE_ID_BYTES);
  set_delivery(t, delivery);
  return t;
}

te_task *te_task_malformed(te_slice envelope, uint32_t delivery) {
  if (envelope.size < TE_ID_BYTES) return NULL;
  te_task *t = te_task_of_field(te_slice_of(envelope.data, TE_ID_BYTES));
  set_delivery(t, delivery);
  te_task_fail(t, TE_END_OUTCOME, "Malformed", "not a task that can be run");
  return t;
}

te_task *te_task_of_field(te_slice field) {
  te_task *t = te_alloc_zero(1, sizeof(*t));
  te_list_init(&t->link);
  te_list_init(&t->news);
  memcpy(t->field, field.data,
         field.size < TE_FIELD_BYTES ? field.size : TE_FIELD_BYTES);
  t->end = TE_END_UNSPENT;
  return t;
}

void te_task_hush(te_task *t) {
  te_list_remove(&t->news);
  te_free(t->word);
  t->word = NULL;
  t->word_size = 0;
  t->is_word_told = false;
}

void te_task_free(te_task *t) {
  if (t == NULL) return;
  te_task_hush(t);
  te_free(t->record);
  te_free(t);
}

void te_task_end(te_task *t, te_end end, te_slice record) {
  t->end = end;
  te_free(t->record);
  t->record = record.size > 0 ? te_slice_dup(record) : NULL;
  t->record_size = record.size;
}

void te_task_set_outcome(te_task *t, te_slice record) {
  te_verdict verdict;
  if (te_record_is_outcome(record)) {
    te_task_end(t, TE_END_OUTCOME, record);
    return;
  }
  if (te_verdict_read(record, &verdict) == 0) {
    te_task_end(t, TE_END_RETRY, record);
    return;
  }
  if (te_record_is_delegation(record)) {
    te_task_end(t, TE_END_DELEGATED, record);
    return;
  }
  if (!te_slice_equal(record, te_slice_str(TE_OUTCOME_UNKNOWN))) {
    te_task_fail(t, TE_END_OUTCOME, "Malformed",
                 "the process that ran it told nonsense of its end");
    return;
  }
  te_task_fail(t, TE_END_UNKNOWN, "NotRegistered",
               "no worker of queue \"%.*s\" knows the task \"%.*s\"",
               (int)t->envelope.queue.size, t->envelope.queue.data,
               (int)t->envelope.name.size, t->envelope.name.data);
}

void te_task_fail(te_task *t, te_end end, const char *kind, const char *format,
                  ...) {
  char message[512];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof(message), format, args);
  va_end(args);

  te_buf out;
  te_buf_init(&out);
  te_record_failure(&out, kind, message);
  te_task_end(t, end, te_buf_slice(&out));
  te_buf_free(&out);
}

void te_task_revoke(te_task *t, bool has_begun) {
  te_buf out;
  te_buf_init(&out);
  te_record_revocation(&out, has_begun ? "revoked while it ran"
                                       : "revoked before it began");
  te_task_end(t, TE_END_OUTCOME, te_buf_slice(&out));
  te_buf_free(&out);
}

void te_task_doom(te_task *t, uint64_t at_ms) {
  if (t->doom_ms == 0) t->doom_ms = at_ms;
  if (t->limit_ms == 0 || t->limit_ms > t->doom_ms) t->limit_ms = t->doom_ms;
}

static bool has_limit(const te_task *t) {
  return t->envelope.time_limit_ms > 0;
}

uint64_t te_task_limit(const te_task *t, uint64_t begun_ms) {
  uint64_t over_ms = begun_ms + t->envelope.time_limit_ms;
  if (t->deadline_ms == 0) return has_limit(t) ? over_ms : 0;
  return has_limit(t) && over_ms < t->deadline_ms ? over_ms : t->deadline_ms;
}

// One that has not begun by its deadline will be looked at again.
static uint64_t next_look(const te_task *t, uint64_t taken_ms,
                          uint64_t now_ms) {
  uint64_t limit_ms = te_task_limit(t, taken_ms > 0 ? taken_ms : now_ms);
  if (t->doom_ms != 0 && (limit_ms == 0 || limit_ms > t->doom_ms))
    limit_ms = t->doom_ms;
  return taken_ms == 0 && limit_ms <= now_ms ? now_ms + PAUSE_MS : limit_ms;
}

static void end_late(te_task *t, uint64_t now_ms) {
  if (t->doom_ms != 0 && t->doom_ms <= now_ms) {
    te_task_revoke(t, true);
  } else if (t->deadline_ms > 0 && t->deadline_ms <= now_ms) {
    te_task_fail(t, TE_END_OUTCOME, "TimeLimitExceeded",
                 "was still running at its deadline");
  } else {
    te_task_fail(t, TE_END_OUTCOME, "TimeLimitExceeded",
                 "ran longer than its time limit of %g s",
                 t->envelope.time_limit_ms / 1000.0);
  }
}

te_time te_task_check_limit(te_task *t, uint64_t taken_ms, bool is_executing,
                            uint64_t now_ms) {
  if (t->limit_ms == 0) return TE_TIME_LEFT;
  if (!t->is_cancelled) t->limit_ms = next_look(t, taken_ms, now_ms);
  if (t->limit_ms > now_ms) return TE_TIME_LEFT;
  if (t->end == TE_END_NONE) end_late(t, now_ms);
  if (t->is_cancelled || is_executing) {
    t->limit_ms = 0;
    return TE_TIME_KILL;
  }
  t->is_cancelled = true;
  t->limit_ms = now_ms + CANCEL_MS;
  return TE_TIME_CANCEL;
}

void te_task_execute_will(te_task *t, te_slice will) {
  te_buf out;
  te_buf_init(&out);
  te_slice outcome = te_slice_of(t->record, t->record_size);
  if (t->end == TE_END_OUTCOME && te_verdict_execute(&out, will, outcome))
    te_task_end(t, TE_END_RETRY, te_buf_slice(&out));
  te_buf_free(&out);
}
