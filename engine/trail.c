#include "trail.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

#define PATH_BYTES_MAX 200
#define KEY_BYTES_MAX  40
#define CUT            "..."
// Every byte of a key as \ddd, and ["..."] around it.
#define STEP_BYTES_MAX (4 * KEY_BYTES_MAX + 16)

static bool is_identifier(te_slice key) {
  if (key.size == 0 || key.size > KEY_BYTES_MAX) return false;
  for (size_t i = 0; i < key.size; i++) {
    uint8_t c = (uint8_t)key.data[i];
    bool letter = c < 0x80 && (isalpha(c) || c == '_');
    if (!letter && (i == 0 || !isdigit(c))) return false;
  }
  return true;
}

// As a Lua string between its quotes, bytes that are not text as \ddd.
static size_t escape(te_slice key, char *out) {
  bool text = te_utf8_valid(key);
  char *at = out;
  for (size_t i = 0; i < key.size; i++) {
    uint8_t c = (uint8_t)key.data[i];
    if (c < 0x20 || c == 0x7f || (c >= 0x80 && !text)) {
      at += sprintf(at, "\\%03u", c);
    } else {
      if (c == '"' || c == '\\') *at++ = '\\';
      *at++ = (char)c;
    }
  }
  return (size_t)(at - out);
}

static te_slice cut(te_slice key) {
  if (key.size <= KEY_BYTES_MAX) return key;
  size_t size = KEY_BYTES_MAX;
  bool text = te_utf8_valid(key);
  while (text && ((uint8_t)key.data[size] & 0xc0) == 0x80)
    size--;
  return te_slice_of(key.data, size);
}

static size_t string_step(te_slice key, char *out) {
  if (is_identifier(key)) {
    return (size_t)sprintf(out, ".%.*s", (int)key.size, key.data);
  }
  te_slice head = cut(key);
  size_t size = (size_t)sprintf(out, "[\"");
  size += escape(head, out + size);
  const char *end = head.size < key.size ? CUT "\"]" : "\"]";
  return size + (size_t)sprintf(out + size, "%s", end);
}

// A step as Lua writes it; `out` has STEP_BYTES_MAX. The size of the text.
static size_t step_text(const te_item *key, char *out) {
  switch (key->kind) {
    case TE_ITEM_STR:
    case TE_ITEM_BIN: return string_step(key->bytes, out);
    case TE_ITEM_INT:
      return (size_t)sprintf(out, "[%" PRId64 "]", key->integer);
    case TE_ITEM_FLOAT: return (size_t)sprintf(out, "[%.14g]", key->number);
    case TE_ITEM_BOOL:
      return (size_t)sprintf(out, "[%s]", key->truth ? "true" : "false");
    case TE_ITEM_NIL:
    case TE_ITEM_ARRAY:
    case TE_ITEM_MAP: break;
  }
  assert(false);  // a key is none of these
  return 0;
}

// Appends what fits whole, else the sign that something is missing.
static bool add(char *out, size_t *used, const char *text, size_t size) {
  bool fits = size < PATH_BYTES_MAX - sizeof(CUT) - *used;
  te_slice part = fits ? te_slice_of(text, size) : te_slice_str(CUT);
  memcpy(out + *used, part.data, part.size);
  *used += part.size;
  return fits;
}

static void path_text(const te_trail *trail, char out[PATH_BYTES_MAX]) {
  size_t used = 0;
  bool whole = add(out, &used, trail->root, strlen(trail->root));
  for (size_t i = 0; i < trail->depth && whole; i++) {
    char step[STEP_BYTES_MAX];
    whole = add(out, &used, step, step_text(&trail->steps[i], step));
  }
  out[used] = '\0';
}

void te_trail_say(const te_trail *trail, char *why, size_t size,
                  const char *format, ...) {
  char path[PATH_BYTES_MAX];
  path_text(trail, path);
  int used = snprintf(why, size, "%s: ", path);
  if (used < 0 || (size_t)used >= size) return;
  va_list args;
  va_start(args, format);
  vsnprintf(why + used, size - (size_t)used, format, args);
  va_end(args);
}

void te_trail_say_too_large(const char *root, size_t bytes_max, char *why,
                            size_t size) {
  te_trail trail = {.root = root != NULL ? root : "value", .depth = 0};
  te_trail_say(&trail, why, size,
               "larger than %zu bytes (pass a path or a key instead)",
               bytes_max);
}
