/*
 * JSON from anyone, and whatever value as JSON: the text of what was read is
 * read as the same.
 */
#include "json.h"

#include <string.h>

#include "codec.h"
#include "support/fuzz.h"

static int parse(te_slice text, te_buf *out) {
  char why[TE_WHY_BYTES_MAX];
  return te_json_parse(text, TE_VALUE_DEPTH_MAX, out, why, sizeof(why));
}

static int write_text(te_slice packed, const te_json_style *style,
                      te_buf *out) {
  char why[TE_WHY_BYTES_MAX];
  return te_json_write(packed, style, out, why, sizeof(why));
}

// What JSON could be read as is written, and the same text however often.
static void check_text(te_slice text) {
  te_buf packed[2] = {{0}, {0}};
  te_buf again[2] = {{0}, {0}};
  te_json_style style = {.exact = true};
  int rc = parse(text, &packed[0]);
  if (rc == 0) {
    rc = write_text(te_buf_slice(&packed[0]), &style, &again[0]);
    assert(rc == 0);
    rc = parse(te_buf_slice(&again[0]), &packed[1]);
    assert(rc == 0);
    rc = write_text(te_buf_slice(&packed[1]), &style, &again[1]);
    assert(rc == 0);
    assert(te_slice_equal(te_buf_slice(&again[0]), te_buf_slice(&again[1])));
  }
  for (int i = 0; i < 2; i++) {
    te_buf_free(&packed[i]);
    te_buf_free(&again[i]);
  }
}

// What is written exactly comes back as it is.
static void check_exact(te_slice packed) {
  te_buf text = {0};
  te_buf back = {0};
  te_json_style style = {.exact = true, .indent = packed.size % 3};
  if (write_text(packed, &style, &text) == 0) {
    lua_State *L = fuzz_lua();
    int rc = parse(te_buf_slice(&text), &back);
    assert(rc == 0);
    rc = te_codec_decode(L, packed, NULL);
    assert(rc == 0);
    rc = te_codec_decode(L, te_buf_slice(&back), NULL);
    assert(rc == 0 && fuzz_same(L, 1, 2));
  }
  te_buf_free(&text);
  te_buf_free(&back);
}

// What is written for people can be read, unless it has a key with a zero byte,
// or two that look the same.
static void check_lossy(te_slice packed) {
  te_buf text = {0};
  te_buf back = {0};
  te_json_style style = {.lossy = true};
  if (write_text(packed, &style, &text) == 0) {
    te_slice written = te_buf_slice(&text);
    bool may_fail = memmem(packed.data, packed.size, "", 1) != NULL ||
                    memmem(written.data, written.size, "\xef\xbf\xbd", 3);
    int rc = parse(written, &back);
    assert(rc == 0 || may_fail);
  }
  te_buf_free(&text);
  te_buf_free(&back);
}

static void check_limit(te_slice packed) {
  te_buf text = {0};
  te_json_style style = {.lossy = true, .bytes_max = 1 + packed.size % 64};
  int rc = write_text(packed, &style, &text);
  assert(rc < 0 ? te_buf_size(&text) == 0
                : te_buf_size(&text) <= style.bytes_max);
  te_buf_free(&text);
}

void fuzz_one(te_slice bytes) {
  check_text(bytes);
  check_exact(bytes);
  check_lossy(bytes);
  check_limit(bytes);
}
