#include "json.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"
#include "trail.h"
#include "utf8.h"

// "-1.7976931348623157e+308", or an int64_t
#define NUMBER_BYTES_MAX 32
#define REPLACEMENT      "\xef\xbf\xbd"  // U+FFFD
#define TEXT_BYTES_MAX   ((size_t)INT_MAX)

// What an array's element, or an object's pair, takes at least, with a comma or
// the bracket: `0,` and `"":0,`.
enum { ELEMENT_BYTES_MIN = 2, MEMBER_BYTES_MIN = 5 };

static const size_t PARSE_FLAGS =
    JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES;

// `left` is how many arrays and objects it may be deep.
static int pack_node(te_buf *out, json_t *node, int left);

static int pack_array(te_buf *out, json_t *node, int left) {
  size_t count = json_array_size(node);
  te_pack_add(out, &(te_item){.kind = TE_ITEM_ARRAY, .count = count});
  int rc = 0;
  for (size_t i = 0; i < count && rc == 0; i++)
    rc = pack_node(out, json_array_get(node, i), left);
  return rc;
}

static int pack_object(te_buf *out, json_t *node, int left) {
  size_t count = json_object_size(node);
  te_pack_add(out, &(te_item){.kind = TE_ITEM_MAP, .count = count});
  int rc = 0;
  void *at = json_object_iter(node);
  for (; at != NULL && rc == 0; at = json_object_iter_next(node, at)) {
    te_slice key = {json_object_iter_key(at), json_object_iter_key_len(at)};
    te_pack_add(out, &(te_item){.kind = TE_ITEM_STR, .bytes = key});
    rc = pack_node(out, json_object_iter_value(at), left);
  }
  return rc;
}

static te_item scalar_of(json_t *node) {
  te_item item = {.kind = TE_ITEM_NIL};
  if (json_is_boolean(node)) {
    item.kind = TE_ITEM_BOOL;
    item.truth = json_is_true(node);
  } else if (json_is_integer(node)) {
    item.kind = TE_ITEM_INT;
    item.integer = json_integer_value(node);
  } else if (json_is_real(node)) {
    item.kind = TE_ITEM_FLOAT;
    item.number = json_real_value(node);
  } else if (json_is_string(node)) {
    item.kind = TE_ITEM_STR;
    item.bytes = te_slice_of(json_string_value(node), json_string_length(node));
  }
  return item;
}

static int pack_node(te_buf *out, json_t *node, int left) {
  bool open = json_is_array(node) || json_is_object(node);
  if (open && left == 0) return TE_EDEPTH;
  if (json_is_array(node)) return pack_array(out, node, left - 1);
  if (json_is_object(node)) return pack_object(out, node, left - 1);
  te_item item = scalar_of(node);
  te_pack_add(out, &item);
  return 0;
}

static int say_too_deep(int depth_max, char *why, size_t why_size) {
  snprintf(why, why_size, "nested deeper than %d", depth_max);
  return TE_EDEPTH;
}

// What jansson has found; it goes deeper than we do, but not without end.
static int explain(const json_error_t *error, int depth_max, char *why,
                   size_t why_size) {
  enum json_error_code code = json_error_code(error);
  if (code == json_error_stack_overflow)
    return say_too_deep(depth_max, why, why_size);
  bool beyond = code == json_error_numeric_overflow;
  snprintf(why, why_size, "line %d, column %d: %s%s", error->line,
           error->column, error->text, beyond ? " (numbers have 64 bits)" : "");
  return beyond ? TE_ECANNOT : TE_EMALFORMED;
}

int te_json_parse(te_slice text, int depth_max, te_buf *out, char *why,
                  size_t why_size) {
  if (text.size > TEXT_BYTES_MAX) {
    te_trail_say_too_large(NULL, TEXT_BYTES_MAX, why, why_size);
    return TE_ELIMIT;
  }
  json_error_t error;
  // An empty slice may have no address; jansson wants one.
  const char *data = text.size == 0 ? "" : text.data;
  json_t *root = json_loadb(data, text.size, PARSE_FLAGS, &error);
  if (root == NULL) return explain(&error, depth_max, why, why_size);
  size_t mark = te_buf_size(out);
  int rc = pack_node(out, root, depth_max);
  json_decref(root);
  if (rc == 0) return 0;
  te_buf_cut(out, mark);
  return say_too_deep(depth_max, why, why_size);
}

typedef struct writer {
  te_buf *out;
  size_t end_max;  // how far `out` may grow
  size_t owed;     // the least that what is open will yet take
  const te_json_style *style;
  te_trail trail;
  char *why;
  size_t why_size;
} writer;

// One pair of an object, to be sorted.
typedef struct member {
  te_item key;
  char number[NUMBER_BYTES_MAX];  // the text of a key that is not a string
  te_slice value;                 // packed
} member;

static int write_value(writer *w, te_reader *r);

static void write_line(writer *w) {
  if (w->style->indent == 0) return;
  size_t spaces = (size_t)w->style->indent * w->trail.depth;
  char *at = te_buf_reserve(w->out, 1 + spaces);
  at[0] = '\n';
  memset(at + 1, ' ', spaces);
  te_buf_grow(w->out, 1 + spaces);
}

// The locale of the process may have put something else there than a point.
static void mend_point(char *text) {
  char *point = text + strspn(text, "-0123456789");
  if (*point == '\0' || *point == 'e') return;
  char *rest = point + strcspn(point, "0123456789");
  *point = '.';
  memmove(point + 1, rest, strlen(rest) + 1);
}

// 15 digits, more where they would not bring the number back, and a sign
// that it is a float.
static void float_text(double v, char text[NUMBER_BYTES_MAX]) {
  for (int digits = DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
    snprintf(text, NUMBER_BYTES_MAX, "%.*g", digits, v);
    if (isnan(v) || isinf(v)) return;
    if (strtod(text, NULL) == v) break;
  }
  mend_point(text);
  size_t size = strlen(text);
  if (strpbrk(text, ".e") == NULL) memcpy(text + size, ".0", sizeof(".0"));
}

static void escape(te_buf *out, uint8_t c) {
  switch (c) {
    case '"': te_buf_add_str(out, "\\\""); break;
    case '\\': te_buf_add_str(out, "\\\\"); break;
    case '\b': te_buf_add_str(out, "\\b"); break;
    case '\f': te_buf_add_str(out, "\\f"); break;
    case '\n': te_buf_add_str(out, "\\n"); break;
    case '\r': te_buf_add_str(out, "\\r"); break;
    case '\t': te_buf_add_str(out, "\\t"); break;
    default: te_buf_addf(out, "\\u%04x", c); break;
  }
}

static void write_text(te_buf *out, te_slice text) {
  size_t done = 0;  // runs without anything to escape go at once
  for (size_t i = 0; i < text.size; i++) {
    uint8_t c = (uint8_t)text.data[i];
    if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) continue;
    te_buf_add(out, text.data + done, i - done);
    escape(out, c);
    done = i + 1;
  }
  if (done < text.size) te_buf_add(out, text.data + done, text.size - done);
}

// Whether so many bytes more are too many.
static bool is_too_large(const writer *w, size_t size) {
  size_t now = te_buf_size(w->out) + w->owed;
  return now > w->end_max || size > w->end_max - now;
}

// For the elements to come. Each takes it back, and then what it needs.
static int promise(writer *w, size_t size) {
  if (is_too_large(w, size)) return TE_ELIMIT;
  w->owed += size;
  return 0;
}

static int write_string(writer *w, te_slice bytes) {
  if (is_too_large(w, bytes.size)) return TE_ELIMIT;
  size_t span = te_utf8_span(bytes);
  if (span < bytes.size && !w->style->lossy) {
    te_trail_say(&w->trail, w->why, w->why_size,
                 "bytes that are not UTF-8 cannot be written as JSON");
    return TE_ECANNOT;
  }
  te_buf_add_u8(w->out, '"');
  for (; span < bytes.size; span = te_utf8_span(bytes)) {
    write_text(w->out, te_slice_of(bytes.data, span));
    te_buf_add_str(w->out, REPLACEMENT);
    bytes = te_slice_of(bytes.data + span + 1, bytes.size - span - 1);
  }
  write_text(w->out, bytes);
  te_buf_add_u8(w->out, '"');
  return 0;
}

static int write_float(writer *w, double v) {
  char text[NUMBER_BYTES_MAX];
  float_text(v, text);
  if (isnan(v) || isinf(v)) {
    te_trail_say(&w->trail, w->why, w->why_size, "%s cannot be written as JSON",
                 isnan(v) ? "nan" : text);
    return TE_ECANNOT;
  }
  te_buf_add_str(w->out, text);
  return 0;
}

static int write_array(writer *w, te_reader *r, size_t count) {
  if (promise(w, count * ELEMENT_BYTES_MIN) < 0) return TE_ELIMIT;
  te_item *step = &w->trail.steps[w->trail.depth++];
  *step = (te_item){.kind = TE_ITEM_INT};
  te_buf_add_u8(w->out, '[');
  while (step->integer < (int64_t)count) {
    w->owed -= ELEMENT_BYTES_MIN;
    if (step->integer++ > 0) te_buf_add_u8(w->out, ',');
    write_line(w);
    int rc = write_value(w, r);
    if (rc < 0) return rc;
  }
  w->trail.depth--;
  if (count > 0) write_line(w);
  te_buf_add_u8(w->out, ']');
  return 0;
}

static te_slice member_name(const member *m) {
  return te_item_is_bytes(&m->key) ? m->key.bytes : te_slice_str(m->number);
}

static int compare_members(const void *a, const void *b) {
  te_slice left = member_name(a);
  te_slice right = member_name(b);
  size_t common = left.size < right.size ? left.size : right.size;
  int order = common == 0 ? 0 : memcmp(left.data, right.data, common);
  if (order != 0) return order;
  return (left.size > right.size) - (left.size < right.size);
}

static void read_member(te_reader *r, member *m) {
  int rc = te_reader_next_key(r, &m->key);
  if (rc == 0) rc = te_reader_skip(r, TE_VALUE_DEPTH_MAX, &m->value);
  assert(rc == 0);  // te_json_write has looked at the whole
  if (m->key.kind == TE_ITEM_INT) {
    snprintf(m->number, sizeof(m->number), "%" PRId64, m->key.integer);
  } else if (m->key.kind == TE_ITEM_FLOAT) {
    float_text(m->key.number, m->number);
  } else if (m->key.kind == TE_ITEM_BOOL) {
    snprintf(m->number, sizeof(m->number), "%s",
             m->key.truth ? "true" : "false");
  }
}

// Whether the key is read back as it is.
static int check_key(writer *w, const te_item *key) {
  const char *what = NULL;
  if (!te_item_is_bytes(key)) {
    what = key->kind == TE_ITEM_BOOL ? "is a boolean" : "is a number";
  } else if (key->bytes.size > 0 &&
             memchr(key->bytes.data, 0, key->bytes.size) != NULL) {
    what = "has a zero byte";
  }
  if (what == NULL || !w->style->exact) return 0;
  te_trail_say(&w->trail, w->why, w->why_size,
               "a key that %s cannot be written as JSON", what);
  return TE_ECANNOT;
}

static int write_member(writer *w, const member *m) {
  w->trail.steps[w->trail.depth++] = m->key;
  w->owed -= MEMBER_BYTES_MIN;
  write_line(w);
  int rc = check_key(w, &m->key);
  if (rc == 0) rc = write_string(w, member_name(m));
  te_buf_add_str(w->out, w->style->indent > 0 ? ": " : ":");
  te_reader r = te_reader_of(m->value);
  if (rc == 0) rc = write_value(w, &r);
  if (rc == 0) w->trail.depth--;
  return rc;
}

static int write_members(writer *w, const member *members, size_t count) {
  te_buf_add_u8(w->out, '{');
  for (size_t i = 0; i < count; i++) {
    if (i > 0 && compare_members(&members[i - 1], &members[i]) == 0) {
      w->trail.steps[w->trail.depth++] = members[i].key;
      te_trail_say(&w->trail, w->why, w->why_size,
                   "another key has the same name in JSON");
      return TE_ECANNOT;
    }
    if (i > 0) te_buf_add_u8(w->out, ',');
    int rc = write_member(w, &members[i]);
    if (rc < 0) return rc;
  }
  if (count > 0) write_line(w);
  te_buf_add_u8(w->out, '}');
  return 0;
}

static int write_map(writer *w, te_reader *r, size_t count) {
  if (promise(w, count * MEMBER_BYTES_MIN) < 0) return TE_ELIMIT;
  member *members = te_alloc_zero(count, sizeof(*members));
  for (size_t i = 0; i < count; i++)
    read_member(r, &members[i]);
  qsort(members, count, sizeof(*members), compare_members);
  int rc = write_members(w, members, count);
  te_free(members);
  return rc;
}

static int write_value(writer *w, te_reader *r) {
  te_item item;
  int rc = te_reader_next(r, &item);
  assert(rc == 0);
  if (is_too_large(w, 1)) return TE_ELIMIT;
  switch (item.kind) {
    case TE_ITEM_NIL: te_buf_add_str(w->out, "null"); break;
    case TE_ITEM_BOOL:
      te_buf_add_str(w->out, item.truth ? "true" : "false");
      break;
    case TE_ITEM_INT: te_buf_addf(w->out, "%" PRId64, item.integer); break;
    case TE_ITEM_FLOAT: rc = write_float(w, item.number); break;
    case TE_ITEM_STR:
    case TE_ITEM_BIN: rc = write_string(w, item.bytes); break;
    case TE_ITEM_ARRAY: rc = write_array(w, r, item.count); break;
    case TE_ITEM_MAP: rc = write_map(w, r, item.count); break;
  }
  return rc;
}

int te_json_write(te_slice packed, const te_json_style *style, te_buf *out,
                  char *why, size_t why_size) {
  te_reader r = te_reader_of(packed);
  te_slice whole;
  int depth_max = style->depth_max > 0 ? style->depth_max : TE_VALUE_DEPTH_MAX;
  assert(depth_max <= TE_TRAIL_STEPS_MAX);
  int rc = te_reader_skip(&r, depth_max, &whole);
  if (rc == 0 && r.at != r.end) rc = TE_EMALFORMED;
  if (rc < 0) {
    snprintf(why, why_size, "%s", te_strerror(rc));
    return rc;
  }
  writer w = {.out = out, .style = style, .why = why, .why_size = why_size};
  w.trail.root = style->root != NULL ? style->root : "value";
  size_t mark = te_buf_size(out);
  w.end_max = style->bytes_max > 0 ? mark + style->bytes_max : SIZE_MAX;
  r = te_reader_of(packed);
  rc = write_value(&w, &r);
  if (rc == 0 && is_too_large(&w, 0)) rc = TE_ELIMIT;
  if (rc == TE_ELIMIT) {
    te_trail_say_too_large(w.trail.root, style->bytes_max, why, why_size);
  }
  if (rc < 0) te_buf_cut(out, mark);
  return rc;
}
