#include "task.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "record.h"

te_task *te_task_new(te_slice envelope, uint32_t delivery) {
  te_task *t = te_alloc_zero(1, sizeof(*t) + envelope.size);
  memcpy(t->bytes, envelope.data, envelope.size);
  t->size = envelope.size;
  if (te_envelope_read(te_slice_of(t->bytes, t->size), &t->envelope) < 0) {
    te_free(t);
    return NULL;
  }
  te_list_init(&t->link);
  memcpy(t->field, t->bytes, TE_ID_BYTES);
  for (int i = TE_FIELD_BYTES - 1; i >= TE_ID_BYTES; i--, delivery >>= 8)
    t->field[i] = (char)(delivery & 0xff);
  return t;
}

te_task *te_task_of_field(te_slice field) {
  te_task *t = te_alloc_zero(1, sizeof(*t));
  te_list_init(&t->link);
  memcpy(t->field, field.data,
         field.size < TE_FIELD_BYTES ? field.size : TE_FIELD_BYTES);
  t->end = TE_END_UNSPENT;
  return t;
}

void te_task_free(te_task *t) {
  if (t == NULL) return;
  te_free(t->record);
  te_free(t);
}

void te_task_end(te_task *t, te_end end, te_slice record) {
  t->end = end;
  te_free(t->record);
  t->record = record.size > 0 ? te_slice_dup(record) : NULL;
  t->record_size = record.size;
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
