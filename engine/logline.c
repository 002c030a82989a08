#include "logline.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "utf8.h"

// The date is worked out once a second, not for every line.
static void add_time(te_buf *out, int64_t now_ms) {
  static time_t second = -1;
  static char date[sizeof("-2147483648-11-22T09:00:00.")];
  if ((time_t)(now_ms / 1000) != second) {
    struct tm tm;
    second = (time_t)(now_ms / 1000);
    gmtime_r(&second, &tm);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S.", &tm);
  }
  int ms = (int)(now_ms % 1000);
  char rest[] = {(char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                 (char)('0' + ms % 10), 'Z'};
  te_buf_add_str(out, date);
  te_buf_add(out, rest, sizeof(rest));
}

// Terminals obey U+0080 to U+009F (c2 80 to c2 9f) too.
static bool is_control(const uint8_t *at, const uint8_t *end) {
  return at[0] < 0x20 || at[0] == 0x7f ||
         (at[0] == 0xc2 && end - at > 1 && at[1] < 0xa0);
}

/* As text. */

static void add_escape(te_buf *out, uint8_t byte) {
  switch (byte) {
    case '\n': te_buf_add_str(out, "\\n"); return;
    case '\r': te_buf_add_str(out, "\\r"); return;
    case '\t': te_buf_add_str(out, "\\t"); return;
    default: te_buf_addf(out, "\\x%02x", byte);
  }
}

// Adds valid UTF-8.
static void add_shown(te_buf *out, te_slice text) {
  const uint8_t *at = (const uint8_t *)text.data;
  const uint8_t *end = at + text.size;
  const uint8_t *from = at;
  while (at < end) {
    if (!is_control(at, end)) {
      at++;
      continue;
    }
    te_buf_add(out, from, (size_t)(at - from));
    if (*at == 0xc2) add_escape(out, *at++);
    add_escape(out, *at++);
    from = at;
  }
  te_buf_add(out, from, (size_t)(end - from));
}

static void add_bytes(te_buf *out, te_slice bytes) {
  for (;;) {
    size_t valid = te_utf8_span(bytes);
    add_shown(out, te_slice_of(bytes.data, valid));
    if (valid == bytes.size) return;
    add_escape(out, (uint8_t)bytes.data[valid]);
    bytes = te_slice_of(bytes.data + valid + 1, bytes.size - valid - 1);
  }
}

void te_logline_add_text(te_buf *out, const te_logline *line) {
  add_time(out, line->wall_ms);
  te_buf_addf(out, " %-5s ", line->level);
  if (line->about != NULL && line->about->task.size > 0) {
    add_bytes(out, line->about->task);
    te_buf_add_u8(out, '[');
    add_bytes(out, line->about->id);
    te_buf_add_str(out, "] ");
  }
  add_bytes(out, line->text);
  te_buf_add_str(out, line->is_cut ? "...\n" : "\n");
}

/* As JSON. */

// Adds valid UTF-8 as the inside of a string.
static void add_quoted(te_buf *out, te_slice text) {
  const uint8_t *at = (const uint8_t *)text.data;
  const uint8_t *end = at + text.size;
  const uint8_t *from = at;
  while (at < end) {
    bool is_escaped = *at == '"' || *at == '\\';
    if (!is_escaped && !is_control(at, end)) {
      at++;
      continue;
    }
    te_buf_add(out, from, (size_t)(at - from));
    if (is_escaped) {
      te_buf_add_u8(out, '\\');
      te_buf_add_u8(out, *at);
    } else {
      if (*at == 0xc2) at++;  // the next byte is the character's number
      te_buf_addf(out, "\\u%04x", *at);
    }
    from = ++at;
  }
  te_buf_add(out, from, (size_t)(end - from));
}

static void add_string(te_buf *out, te_slice bytes) {
  te_buf_add_u8(out, '"');
  for (;;) {
    size_t valid = te_utf8_span(bytes);
    add_quoted(out, te_slice_of(bytes.data, valid));
    if (valid == bytes.size) break;
    te_buf_add_str(out, "\xef\xbf\xbd");  // U+FFFD
    bytes = te_slice_of(bytes.data + valid + 1, bytes.size - valid - 1);
  }
  te_buf_add_u8(out, '"');
}

static void add_about(te_buf *out, const te_log_about *about) {
  if (about->task.size > 0) {
    te_buf_add_str(out, ",\"task\":");
    add_string(out, about->task);
    te_buf_add_str(out, ",\"id\":");
    add_string(out, about->id);
  }
  if (about->child != TE_LOG_NO_CHILD)
    te_buf_addf(out, ",\"child\":%d", about->child);
}

void te_logline_add_json(te_buf *out, const te_logline *line, te_slice worker) {
  te_buf_add_str(out, "{\"time\":\"");
  add_time(out, line->wall_ms);
  te_buf_addf(out, "\",\"level\":\"%s\",\"message\":", line->level);
  add_string(out, line->text);
  if (line->is_cut) te_buf_add_str(out, ",\"truncated\":true");
  if (line->about != NULL) add_about(out, line->about);
  te_buf_addf(out, ",\"pid\":%d", (int)getpid());
  if (worker.size > 0) {
    te_buf_add_str(out, ",\"worker\":");
    add_string(out, worker);
  }
  te_buf_add_str(out, "}\n");
}
