#include "tasklog.h"

#include "record.h"

static te_log_about about_task(const te_task *t) {
  return (te_log_about){
      .task = t->envelope.name,
      .id = t->envelope.id,
      .child = t->has_claim ? (int)t->child : TE_LOG_NO_CHILD,
  };
}

void te_tasklog_end(const te_task *t, uint32_t run_us) {
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
  te_buf line;
  te_buf_init(&line);
  te_buf_add_str(&line, how);
  // It is not known of a child that died.
  if (run_us > 0) te_buf_addf(&line, " in %.3f ms", run_us / 1000.0);
  if (kind.size > 0) te_buf_add_str(&line, ": ");
  te_buf_add_slice(&line, kind);
  if (message.size > 0) te_buf_add_str(&line, ": ");
  te_buf_add_slice(&line, message);
  te_log_about about = about_task(t);
  te_log_always(level, &about, te_buf_slice(&line));
  te_buf_free(&line);
}

void te_tasklog_say(te_log_level task_level, int level, const te_task *about,
                    te_slice text) {
  if (level < TE_LOG_DEBUG || level > TE_LOG_ERROR) level = TE_LOG_INFO;
  if (about == NULL) return te_log_bytes((te_log_level)level, text);
  if (level < (int)task_level) return;
  te_log_about task = about_task(about);
  te_log_always((te_log_level)level, &task, text);
}
