#include "resp.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include <hiredis/hiredis.h>

/*
 * hiredis moves what is left in its buffer once for each kilobyte that it
 * has read; small pieces keep what it moves small.
 */
#define PIECE_BYTES    ((size_t)16 * 1024)
// hiredis keeps an empty buffer up to this size.
#define BUFFER_BYTES   (PIECE_BYTES * 4)
// A status, error or integer that has not ended by then is none.
#define LINE_BYTES_MAX ((size_t)1024 * 1024)

#define HEAD_BYTES_MAX 23  // a mark, 20 digits, CR LF

#define BLOCK_BYTES_MIN ((size_t)4 * 1024)
#define BLOCK_BYTES_MAX ((size_t)256 * 1024)  // what is kept between replies

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;
#else
typedef int element_count;
#endif

typedef struct block {
  struct block *next;
  size_t used;
  size_t cap;
  _Alignas(max_align_t) char data[];
} block;

struct te_resp {
  redisReader *reader;
  te_slice rest;   // fed, not yet given to the reader
  block *blocks;   // the memory of the reply being built, newest first
  size_t built;    // bytes taken from the blocks
  te_reply *root;  // NULL until its head has come
  bool is_taken;   // the reply was handed out: the blocks are free again
  bool is_over_limit;
};

static te_reply nil_reply = {.type = TE_REPLY_NIL};

bool te_reply_is_error(const te_reply *reply, const char *head) {
  size_t size = strlen(head);
  return reply->type == TE_REPLY_ERROR && reply->text.size >= size &&
         memcmp(reply->text.data, head, size) == 0;
}

static void add_block(te_resp *p, size_t size) {
  size_t cap = p->blocks == NULL ? BLOCK_BYTES_MIN : p->blocks->cap * 2;
  if (cap > BLOCK_BYTES_MAX) cap = BLOCK_BYTES_MAX;
  if (cap < size) cap = size;
  block *b = te_alloc(sizeof(*b) + cap);
  b->next = p->blocks;
  b->used = 0;
  b->cap = cap;
  p->blocks = b;
}

// NULL when the reply would grow over the limit.
static void *take(te_resp *p, size_t size) {
  if (size > TE_RESP_REPLY_BYTES_MAX - p->built) {
    p->is_over_limit = true;
    return NULL;
  }
  size = (size + 7) & ~(size_t)7;
  p->built += size;
  if (p->blocks == NULL || p->blocks->cap - p->blocks->used < size) {
    add_block(p, size);
  }
  void *at = p->blocks->data + p->blocks->used;
  p->blocks->used += size;
  return at;
}

/*
 * The newest block is the largest that replies have needed so far: it stays,
 * unless it is there for one huge string.
 */
static void reset(te_resp *p) {
  block *kept = NULL;
  for (block *b = p->blocks, *next; b != NULL; b = next) {
    next = b->next;
    if (kept == NULL && b->cap <= BLOCK_BYTES_MAX) {
      kept = b;
    } else {
      te_free(b);
    }
  }
  if (kept != NULL) {
    kept->next = NULL;
    kept->used = 0;
  }
  p->blocks = kept;
  p->built = 0;
  p->root = NULL;
  p->is_taken = false;
}

static te_reply *add_reply(const redisReadTask *task, te_reply_type type) {
  te_resp *p = task->privdata;
  te_reply *reply = take(p, sizeof(*reply));
  if (reply == NULL) return NULL;
  memset(reply, 0, sizeof(*reply));
  reply->type = type;
  if (task->parent == NULL) {
    p->root = reply;
  } else {
    te_reply *parent = task->parent->obj;
    assert(parent->type == TE_REPLY_ARRAY);
    assert((size_t)task->idx < parent->count);
    parent->item[task->idx] = reply;
  }
  return reply;
}

static void *create_string(const redisReadTask *task, char *text, size_t size) {
  te_resp *p = task->privdata;
  te_reply_type type = TE_REPLY_STRING;
  if (task->type == REDIS_REPLY_STATUS) type = TE_REPLY_STATUS;
  if (task->type == REDIS_REPLY_ERROR) type = TE_REPLY_ERROR;
  te_reply *reply = add_reply(task, type);
  char *copy = reply == NULL ? NULL : take(p, size);
  if (copy == NULL) return NULL;
  memcpy(copy, text, size);
  reply->text = te_slice_of(copy, size);
  return reply;
}

static int depth_of(const redisReadTask *task) {
  int depth = 1;
  for (const redisReadTask *t = task->parent; t != NULL; t = t->parent)
    depth++;
  return depth;
}

static void *create_array(const redisReadTask *task, element_count count) {
  te_resp *p = task->privdata;
  if ((size_t)count > TE_RESP_ELEMENTS_MAX ||
      depth_of(task) > TE_RESP_DEPTH_MAX) {
    p->is_over_limit = true;
    return NULL;
  }
  te_reply *reply = add_reply(task, TE_REPLY_ARRAY);
  if (reply == NULL) return NULL;
  reply->count = (size_t)count;
  reply->item = take(p, reply->count * sizeof(te_reply *));
  if (reply->item == NULL) return NULL;
  // A type that has no function here leaves its place as it is.
  for (size_t i = 0; i < reply->count; i++)
    reply->item[i] = &nil_reply;
  return reply;
}

static void *create_integer(const redisReadTask *task, long long value) {
  te_reply *reply = add_reply(task, TE_REPLY_INTEGER);
  if (reply != NULL) reply->integer = value;
  return reply;
}

static void *create_nil(const redisReadTask *task) {
  return add_reply(task, TE_REPLY_NIL);
}

te_resp *te_resp_new(void) {
  static redisReplyObjectFunctions functions = {
      .createString = create_string,
      .createArray = create_array,
      .createInteger = create_integer,
      .createNil = create_nil,
      .freeObject = NULL,  // the blocks are freed instead
  };
  te_resp *p = te_alloc_zero(1, sizeof(*p));
  p->reader = redisReaderCreateWithFunctions(&functions);
  if (p->reader == NULL) abort();
  p->reader->maxbuf = BUFFER_BYTES;
  p->reader->privdata = p;
  return p;
}

void te_resp_free(te_resp *p) {
  if (p == NULL) return;
  redisReaderFree(p->reader);
  for (block *b = p->blocks, *next; b != NULL; b = next) {
    next = b->next;
    te_free(b);
  }
  te_free(p);
}

void te_resp_feed(te_resp *p, te_slice bytes) {
  assert(p->rest.size == 0);
  p->rest = bytes;
}

/*
 * What the reader leaves behind is the one string or line that has not ended.
 * A string's length is judged as soon as it is announced, and the reader has
 * found it to be a number.
 */
static bool is_too_long(const char *data, size_t size) {
  size_t head = size < HEAD_BYTES_MAX ? size : HEAD_BYTES_MAX;
  const char *end = memmem(data, head, "\r\n", 2);
  if (end == NULL) return size > LINE_BYTES_MAX;
  uint64_t announced = 0;
  for (; data < end; data++)
    announced = announced * 10 + (uint64_t)(*data - '0');
  return announced > TE_RESP_STRING_BYTES_MAX;
}

// 1: the reader has more to look at, 0: there is nothing left to feed.
static int feed_piece(te_resp *p) {
  redisReader *reader = p->reader;
  if (is_too_long(reader->buf + reader->pos, reader->len - reader->pos)) {
    return TE_ELIMIT;
  }
  if (p->rest.size == 0) return 0;
  size_t size = p->rest.size < PIECE_BYTES ? p->rest.size : PIECE_BYTES;
  if (redisReaderFeed(reader, p->rest.data, size) != REDIS_OK) {
    return TE_EPROTO;
  }
  p->rest = te_slice_of(p->rest.data + size, p->rest.size - size);
  return 1;
}

int te_resp_next(te_resp *p, const te_reply **out) {
  if (p->is_taken) reset(p);
  int rc = 1;
  while (rc == 1) {
    void *done = NULL;
    if (redisReaderGetReply(p->reader, &done) != REDIS_OK) {
      return p->is_over_limit ? TE_ELIMIT : TE_EPROTO;
    }
    if (done != NULL) {
      *out = p->root;
      p->is_taken = true;
      return p->root == NULL ? TE_EPROTO : 1;
    }
    rc = feed_piece(p);
  }
  return rc;
}

static char *write_digits(char *end, size_t value) {
  do {
    *--end = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  return end;
}

static void end_line(char *at) {
  at[0] = '\r';
  at[1] = '\n';
}

// Writes "*12\r\n" and returns its size.
static size_t write_head(char *at, char mark, size_t value) {
  char digits[20];
  char *end = digits + sizeof(digits);
  char *first = write_digits(end, value);
  size_t size = (size_t)(end - first);
  at[0] = mark;
  memcpy(at + 1, first, size);
  end_line(at + 1 + size);
  return size + 3;
}

void te_resp_add_array(te_buf *out, size_t count) {
  char *at = te_buf_reserve(out, HEAD_BYTES_MAX);
  te_buf_grow(out, write_head(at, '*', count));
}

void te_resp_add_string(te_buf *out, te_slice text) {
  char *at = te_buf_reserve(out, HEAD_BYTES_MAX + text.size + 2);
  size_t head = write_head(at, '$', text.size);
  if (text.size > 0) memcpy(at + head, text.data, text.size);
  end_line(at + head + text.size);
  te_buf_grow(out, head + text.size + 2);
}
