#include "tasklog.h"

#include "clock.h"
#include "record.h"
#include "verdict.h"

static te_log_about about_task(const te_task *t) {
  return (te_log_about){
      .task = t->envelope.name,
      .id = t->envelope.id,
      .child = t->has_claim ? (int)t->child : TE_LOG_NO_CHILD,
  };
}

// What is said of an end, and how loud.
typedef struct ending {
  const char *how;
  te_log_level level;
  te_slice record;  // whose kind and message are told
} ending;

// Redis ends it then, whatever it asks for.
static bool is_revoked(const te_task *t) {
  return t->is_asked && (t->end == TE_END_RETRY || t->end == TE_END_DELEGATED);
}

static ending describe(const te_task *t) {
  ending e = {"failed", TE_LOG_WARN, te_slice_of(t->record, t->record_size)};
  te_verdict verdict;
  if (t->end == TE_END_UNSPENT || t->end == TE_END_BACK) {
    e.how = "handed back";
    // It is news of a task only when that had begun.
    e.level = t->end == TE_END_BACK ? TE_LOG_INFO : TE_LOG_DEBUG;
  } else if (t->end == TE_END_LOST) {
    e.how = "lost";
  } else if (t->end == TE_END_UNKNOWN) {
    e.how = "not known here";
  } else if (is_revoked(t)) {
    e = (ending){"ended", TE_LOG_INFO, te_slice_str("")};
  } else if (te_verdict_read(e.record, &verdict) == 0) {
    bool is_failure = (verdict.flags & TE_VERDICT_SPENDS) != 0;
    e.how = is_failure ? "failed" : "put off";
    e.level = is_failure ? TE_LOG_WARN : TE_LOG_INFO;
    e.record = verdict.outcome;
  } else if (t->end == TE_END_DELEGATED) {
    e.how = "replaced";
    e.level = TE_LOG_INFO;
  } else if (te_record_is_success(e.record)) {
    e.how = "succeeded";
    e.level = TE_LOG_INFO;
  } else if (e.record.size > 0 && e.record.data[0] == 'R') {
    e.how = "ended";
    e.level = TE_LOG_INFO;
  }
  return e;
}

static bool expires_before(const te_task *t, const te_verdict *v) {
  if (t->expires_ms == 0) return false;
  return (v->flags & TE_VERDICT_IS_TIME) != 0
             ? v->when_ms >= t->envelope.expiry_ms
             : te_clock_ms() + v->when_ms >= t->expires_ms;
}

// When a task runs again, if it does.
static void add_when(te_buf *line, const te_task *t) {
  te_verdict v;
  if (is_revoked(t)) return te_buf_add_str(line, ", as it was asked to");
  if (te_verdict_read(te_slice_of(t->record, t->record_size), &v) < 0) return;
  if (expires_before(t, &v)) {
    te_buf_add_str(line, ", expires before it could run again");
  } else if ((v.flags & TE_VERDICT_IS_TIME) != 0) {
    te_buf_add_str(line, ", runs again at its time");
  } else {
    te_buf_addf(line, ", runs again in %.3f s", (double)v.when_ms / 1000);
  }
}

void te_tasklog_end(const te_task *t, uint32_t run_us) {
  ending e = describe(t);
  if (!te_log_enabled(e.level)) return;
  te_slice kind = te_record_text(e.record, "kind");
  te_slice message = te_record_text(e.record, "message");
  te_buf line;
  te_buf_init(&line);
  te_buf_add_str(&line, e.how);
  // It is not known of a child that died.
  if (run_us > 0) te_buf_addf(&line, " in %.3f ms", run_us / 1000.0);
  add_when(&line, t);
  if (kind.size > 0) te_buf_add_str(&line, ": ");
  te_buf_add_slice(&line, kind);
  if (message.size > 0) te_buf_add_str(&line, ": ");
  te_buf_add_slice(&line, message);
  te_log_about about = about_task(t);
  te_log_always(e.level, &about, te_buf_slice(&line));
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
