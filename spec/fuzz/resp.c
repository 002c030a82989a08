/*
 * What Redis answers, in whatever pieces it comes: the same replies as in one
 * piece. And commands, which are read as what they were made of.
 */
#include "resp.h"

#include "support/fuzz.h"

#define WORDS_MAX 64

static void note(te_buf *log, const te_reply *r) {
  te_buf_add_u8(log, (uint8_t)r->type);
  te_buf_add_u64(log, (uint64_t)r->integer);
  te_buf_add_u32(log, (uint32_t)r->text.size);
  te_buf_add_slice(log, r->text);
  te_buf_add_u32(log, (uint32_t)r->count);
  for (size_t i = 0; i < r->count; i++)
    note(log, r->item[i]);
}

// Notes all whole replies; what there is behind them, or why it ended.
static int read_all(te_resp *p, te_slice bytes, te_buf *log) {
  const te_reply *reply;
  te_resp_feed(p, bytes);
  int rc = te_resp_next(p, &reply);
  for (; rc == 1; rc = te_resp_next(p, &reply))
    note(log, reply);
  return rc;
}

static void check_pieces(te_slice bytes) {
  te_buf whole = {0};
  te_buf cut = {0};
  fuzz_pieces pieces = fuzz_cut(bytes);
  te_resp *p = te_resp_new();
  int rc = read_all(p, pieces.rest, &whole);
  te_resp_free(p);

  p = te_resp_new();
  int cut_rc = 0;
  while (pieces.rest.size > 0 && cut_rc == 0)
    cut_rc = read_all(p, fuzz_next_piece(&pieces), &cut);
  te_resp_free(p);
  assert(rc == cut_rc);
  assert(te_slice_equal(te_buf_slice(&whole), te_buf_slice(&cut)));
  te_buf_free(&whole);
  te_buf_free(&cut);
}

// The input is the words, with line ends between them.
static size_t split(te_slice bytes, te_slice words[WORDS_MAX]) {
  size_t count = 0;
  const char *at = bytes.data;
  const char *end = at + bytes.size;
  for (const char *word = at; count < WORDS_MAX; word = ++at) {
    while (at < end && *at != '\n')
      at++;
    words[count++] = te_slice_of(word, (size_t)(at - word));
    if (at == end) break;
  }
  return count;
}

static void check_command(te_slice bytes) {
  te_slice words[WORDS_MAX];
  size_t count = split(bytes, words);
  te_buf out = {0};
  te_resp_add_array(&out, count);
  for (size_t i = 0; i < count; i++)
    te_resp_add_string(&out, words[i]);

  te_resp *p = te_resp_new();
  const te_reply *reply;
  te_resp_feed(p, te_buf_slice(&out));
  int rc = te_resp_next(p, &reply);
  assert(rc == 1 && reply->type == TE_REPLY_ARRAY && reply->count == count);
  for (size_t i = 0; i < count; i++) {
    assert(reply->item[i]->type == TE_REPLY_STRING);
    assert(te_slice_equal(reply->item[i]->text, words[i]));
  }
  rc = te_resp_next(p, &reply);
  assert(rc == 0);
  te_resp_free(p);
  te_buf_free(&out);
}

void fuzz_one(te_slice bytes) {
  check_pieces(bytes);
  if (bytes.size > 0) check_command(bytes);
}
