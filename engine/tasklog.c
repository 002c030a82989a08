#include "tasklog.h"

#include <stdio.h>

#include "record.h"

void te_tasklog_end(const te_task *t, uint32_t run_us) {
  const te_envelope *e = &t->envelope;
  te_slice record = te_slice_of(t->record, t->record_size);
  const char *how = "failed";
  te_log_level level = TE_LOG_WARN;
  if (t->end == TE_END_UNSPENT || t->end == TE_END_BACK) {
    how = "handed back";
    // It is news of a task only when that had begun.
    level = t->end == TE_END_BACK ? TE_LOG_INFO : TE_LOG_DEBUG;
  } else if (t->end == TE_END_LOST) {
    how = "lost";
  } else if (t->end == TE_END_UNKNOWN) {
    how = "not known here";
  } else if (te_record_is_success(record)) {
    how = "succeeded";
    level = TE_LOG_INFO;
  }
  if (!te_log_enabled(level)) return;
  te_slice kind = te_record_text(record, "kind");
  te_slice message = te_record_text(record, "message");
  char time[32] = "";  // not known of a child that died
  if (run_us > 0) snprintf(time, sizeof(time), " in %.3f ms", run_us / 1000.0);
  te_log(level, "%.*s[%.*s] %s%s%s%.*s%s%.*s", (int)e->name.size, e->name.data,
         (int)e->id.size, e->id.data, how, time, kind.size > 0 ? ": " : "",
         (int)kind.size, kind.data, message.size > 0 ? ": " : "",
         (int)message.size, message.data);
}

void te_tasklog_say(te_log_level task_level, int level, const te_task *about,
                    te_slice text) {
  if (level < TE_LOG_DEBUG || level > TE_LOG_ERROR) level = TE_LOG_INFO;
  if (about == NULL) return te_log_bytes((te_log_level)level, text);
  if (level < (int)task_level) return;
  te_buf line;
  te_buf_init(&line);
  te_buf_add_slice(&line, about->envelope.name);
  te_buf_add_u8(&line, '[');
  te_buf_add_slice(&line, about->envelope.id);
  te_buf_add_str(&line, "] ");
  te_buf_add_slice(&line, text);
  te_log_always((te_log_level)level, te_buf_slice(&line));
  te_buf_free(&line);
}
