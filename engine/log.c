#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "buf.h"
#include "clock.h"
#include "scribe.h"

#define GATHERED_BYTES_MAX ((size_t)64 * 1024)
#define SETTLE_MS          1000  // for a reader that is slow

static const char *const names[] = {"debug", "info", "warn", "error", "off"};

static te_log_level threshold = TE_LOG_INFO;
static bool gathers;
static bool has_gathered;  // from then on nothing here waits for stderr
static int drop_code;      // why the last of them was
static size_t dropped;     // lines that stderr had no room for
static bool erases;
static bool is_json;
static char worker_name[TE_LOG_WORKER_BYTES_MAX + 1];
static te_buf lines;

#ifdef TE_TESTING
static te_log_sink sink_fn;
static void *sink_arg;

void te_log_set_sink(te_log_sink sink, void *arg) {
  te_log_flush();
  sink_fn = sink;
  sink_arg = arg;
}
#endif

int te_log_level_parse(te_slice name, te_log_level *out) {
  for (int i = TE_LOG_DEBUG; i <= TE_LOG_OFF; i++) {
    if (!te_slice_equal(name, te_slice_str(names[i]))) continue;
    *out = (te_log_level)i;
    return 0;
  }
  return TE_EMALFORMED;
}

void te_log_set_level(te_log_level level) {
  threshold = level;
}

bool te_log_enabled(te_log_level level) {
  return level >= threshold && level < TE_LOG_OFF;
}

static void add_line(te_buf *out, te_log_level level, const te_log_about *about,
                     te_slice text) {
  te_logline line = {
      .wall_ms = te_clock_wall_ms(),
      .level = names[level],
      .about = about,
      .text = text,
      .is_cut = text.size >= TE_LOG_TEXT_BYTES_MAX,
  };
  if (line.is_cut) line.text.size = TE_LOG_TEXT_BYTES_MAX - 1;
  if (is_json) {
    te_logline_add_json(out, &line, te_slice_str(worker_name));
  } else {
    if (erases) te_buf_add_str(out, "\033[K");
    te_logline_add_text(out, &line);
  }
}

static size_t count_lines(te_slice text) {
  size_t n = 0;
  if (text.size == 0) return 0;  // of NULL, perhaps
  const char *end = text.data + text.size;
  for (const char *at = text.data;
       (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
    n++;
  return n;
}

// Whether stderr takes lines again, after it had none.
static bool tell_dropped(void) {
  if (dropped == 0) return true;
  char text[160];
  bool is_unread = drop_code == UV_ENOBUFS;
  snprintf(text, sizeof(text), "%zu log line%s left out here: %s%s", dropped,
           dropped == 1 ? " was" : "s were",
           is_unread ? "nobody read stderr" : "stderr could not be written: ",
           is_unread ? "" : te_strerror(drop_code));
  te_buf line;
  te_buf_init(&line);
  add_line(&line, TE_LOG_WARN, NULL, te_slice_str(text));
  te_slice bytes = te_buf_slice(&line);
  bool is_told = te_scribe_add(&bytes) == 0;
  te_buf_free(&line);
  if (is_told) dropped = 0;
  return is_told;
}

static void write_stderr(te_slice text) {
  if (!has_gathered) {
    te_scribe_write(&text);
    return;
  }
  int rc = 0;
  bool may_write = tell_dropped();
  if (may_write && text.size > 0) rc = te_scribe_add(&text);
  if (may_write && rc == 0) return;
  if (rc < 0) drop_code = rc;
  dropped += count_lines(text);
}

static void write_lines(te_slice text) {
#ifdef TE_TESTING
  if (sink_fn != NULL) {
    if (text.size > 0) sink_fn(sink_arg, text);
    return;
  }
#endif
  write_stderr(text);
}

void te_log_flush(void) {
  write_lines(te_buf_slice(&lines));
  te_buf_clear(&lines);
}

static void stop_at_exit(void) {
  te_log_flush();
  if (dropped > 0) te_scribe_settle(SETTLE_MS);
  te_log_flush();
  te_scribe_stop(SETTLE_MS);
  te_buf_free(&lines);
}

void te_log_gather(bool gather) {
  te_log_flush();
  gathers = gather;
  if (!gather) te_scribe_settle(SETTLE_MS);
  if (gather && !has_gathered) has_gathered = atexit(stop_at_exit) == 0;
}

void te_log_set_erases(bool whether) {
  erases = whether;
}

void te_log_set_json(bool whether, te_slice worker) {
  te_log_flush();
  is_json = whether;
  size_t size = worker.size;
  if (size > TE_LOG_WORKER_BYTES_MAX) size = TE_LOG_WORKER_BYTES_MAX;
  memcpy(worker_name, worker.data, size);
  worker_name[size] = '\0';
}

void te_log_forget(void) {
  te_scribe_forget();
  te_buf_clear(&lines);
  dropped = 0;
  gathers = has_gathered = erases = is_json = false;
  threshold = TE_LOG_INFO;
}

void te_log_always(te_log_level level, const te_log_about *about,
                   te_slice text) {
  add_line(&lines, level, about, text);
  if (!gathers || level == TE_LOG_ERROR ||
      te_buf_size(&lines) >= GATHERED_BYTES_MAX) {
    te_log_flush();
  }
}

void te_log(te_log_level level, const char *format, ...) {
  if (!te_log_enabled(level)) return;
  static char text[TE_LOG_TEXT_BYTES_MAX];
  va_list args;
  va_start(args, format);
  int size = vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  // Negative: a wide character, which nothing of ours prints.
  if (size < 0) return;
  te_log_always(level, NULL, te_slice_of(text, (size_t)size));
}

void te_log_bytes(te_log_level level, te_slice text) {
  if (te_log_enabled(level)) te_log_always(level, NULL, text);
}
