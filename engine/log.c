#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "clock.h"
#include "scribe.h"
#include "utf8.h"

#define GATHERED_BYTES_MAX ((size_t)64 * 1024)
#define SETTLE_MS          1000  // for a reader that is slow

static const char *const names[] = {"debug", "info", "warn", "error", "off"};

static te_log_level threshold = TE_LOG_INFO;
static bool gathers;
static bool has_gathered;  // from then on nothing here waits for stderr
static size_t dropped;     // lines that stderr had no room for
static bool erases;
static te_buf lines;
static te_log_sink sink_fn;
static void *sink_arg;

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

// The date is worked out once a second, not for every line.
static void add_time(te_buf *b) {
  static time_t second = -1;
  static char date[sizeof("-2147483648-11-22T09:00:00.")];
  int64_t now_ms = te_clock_wall_ms();
  if ((time_t)(now_ms / 1000) != second) {
    struct tm tm;
    second = (time_t)(now_ms / 1000);
    gmtime_r(&second, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S.", &tm);
  }
  int ms = (int)(now_ms % 1000);
  char rest[] = {(char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                 (char)('0' + ms % 10), 'Z', ' '};
  te_buf_add_str(b, date);
  te_buf_add(b, rest, sizeof(rest));
}

static void add_head(te_buf *b, te_log_level level) {
  if (erases) te_buf_add_str(b, "\033[K");
  add_time(b);
  te_buf_addf(b, "%-5s ", names[level]);
}

static size_t count_lines(te_slice text) {
  size_t n = 0;
  const char *end = text.data + text.size;
  for (const char *at = text.data;
       (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
    n++;
  return n;
}

// Whether stderr takes lines again, after it had none.
static bool tell_dropped(void) {
  if (dropped == 0) return true;
  te_buf line;
  te_buf_init(&line);
  add_head(&line, TE_LOG_WARN);
  te_buf_addf(&line, "%zu log line%s left out here: nobody read stderr\n",
              dropped, dropped == 1 ? " was" : "s were");
  bool is_told = te_scribe_add(te_buf_slice(&line));
  te_buf_free(&line);
  if (is_told) dropped = 0;
  return is_told;
}

static void write_stderr(te_slice text) {
  if (!has_gathered) return te_scribe_write(text);
  if (tell_dropped() && (text.size == 0 || te_scribe_add(text))) return;
  dropped += count_lines(text);
}

void te_log_flush(void) {
  if (sink_fn == NULL) {
    write_stderr(te_buf_slice(&lines));
  } else if (te_buf_size(&lines) > 0) {
    sink_fn(sink_arg, te_buf_slice(&lines));
  }
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

void te_log_set_sink(te_log_sink sink, void *arg) {
  te_log_flush();
  sink_fn = sink;
  sink_arg = arg;
}

void te_log_set_erases(bool whether) {
  erases = whether;
}

void te_log_forget(void) {
  te_scribe_forget();
  te_buf_clear(&lines);
  dropped = 0;
  gathers = has_gathered = erases = false;
  sink_fn = NULL;
  threshold = TE_LOG_INFO;
}

static void add_escape(uint8_t byte) {
  switch (byte) {
    case '\n': te_buf_add_str(&lines, "\\n"); return;
    case '\r': te_buf_add_str(&lines, "\\r"); return;
    case '\t': te_buf_add_str(&lines, "\\t"); return;
    default: te_buf_addf(&lines, "\\x%02x", byte);
  }
}

// Terminals obey U+0080 to U+009F (c2 80 to c2 9f) too.
static bool is_control(const uint8_t *at, const uint8_t *end) {
  return at[0] < 0x20 || at[0] == 0x7f ||
         (at[0] == 0xc2 && end - at > 1 && at[1] < 0xa0);
}

// Adds valid UTF-8.
static void add_text(te_slice text) {
  const uint8_t *at = (const uint8_t *)text.data;
  const uint8_t *end = at + text.size;
  const uint8_t *from = at;
  while (at < end) {
    if (!is_control(at, end)) {
      at++;
      continue;
    }
    te_buf_add(&lines, from, (size_t)(at - from));
    if (*at == 0xc2) add_escape(*at++);
    add_escape(*at++);
    from = at;
  }
  te_buf_add(&lines, from, (size_t)(end - from));
}

static void add_bytes(te_slice bytes) {
  for (;;) {
    size_t valid = te_utf8_span(bytes);
    add_text(te_slice_of(bytes.data, valid));
    if (valid == bytes.size) return;
    add_escape((uint8_t)bytes.data[valid]);
    bytes = te_slice_of(bytes.data + valid + 1, bytes.size - valid - 1);
  }
}

static void add_line(te_log_level level, te_slice text) {
  bool is_cut = text.size >= TE_LOG_TEXT_BYTES_MAX;
  if (is_cut) text.size = TE_LOG_TEXT_BYTES_MAX - 1;
  add_head(&lines, level);
  add_bytes(text);
  te_buf_add_str(&lines, is_cut ? "...\n" : "\n");
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
  add_line(level, te_slice_of(text, (size_t)size));
}

void te_log_bytes(te_log_level level, te_slice text) {
  if (te_log_enabled(level)) add_line(level, text);
}

void te_log_always(te_log_level level, te_slice text) {
  add_line(level, text);
}
