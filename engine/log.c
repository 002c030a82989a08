#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "utf8.h"

#define GATHERED_BYTES_MAX ((size_t)64 * 1024)

static const char *const names[] = {"debug", "info", "warn", "error", "off"};

static te_log_level threshold = TE_LOG_INFO;
static bool gathers;
static bool flushes_at_exit;
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

void te_log_set_sink(te_log_sink sink, void *arg) {
  te_log_flush();
  sink_fn = sink;
  sink_arg = arg;
}

static void flush_at_exit(void) {
  te_log_flush();
  te_buf_free(&lines);
}

void te_log_gather(bool gather) {
  te_log_flush();
  gathers = gather;
  if (gather && !flushes_at_exit) flushes_at_exit = atexit(flush_at_exit) == 0;
}

// A log that cannot be written is no reason to stop.
static void write_stderr(te_slice bytes) {
  while (bytes.size > 0) {
    ssize_t n = write(STDERR_FILENO, bytes.data, bytes.size);
    if (n >= 0) {
      bytes.data += n;
      bytes.size -= (size_t)n;
    } else if (errno == EAGAIN) {  // whoever shares it made it non-blocking
      struct pollfd writable = {.fd = STDERR_FILENO, .events = POLLOUT};
      poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

void te_log_flush(void) {
  if (te_buf_size(&lines) == 0) return;
  if (sink_fn != NULL) {
    sink_fn(sink_arg, te_buf_slice(&lines));
  } else {
    write_stderr(te_buf_slice(&lines));
  }
  te_buf_clear(&lines);
}

// The date is worked out once a second, not for every line.
static void add_time(void) {
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
  te_buf_add_str(&lines, date);
  te_buf_add(&lines, rest, sizeof(rest));
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
  add_time();
  te_buf_addf(&lines, "%-5s ", names[level]);
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
