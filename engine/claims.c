#include "claims.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

#include "clock.h"

#define MAGIC UINT64_C(0x3573676d69616c63)  // changes with the layout

#define CREATE_TRIES 10

enum claim_state { FREE, OFFERED, TAKEN, ENDED, ASKED };

// Whole cache lines: two children never write the same one.
typedef struct claim {
  _Atomic uint64_t word;  // generation and state
  _Atomic uint64_t taken_at_ms;
  char field[TE_FIELD_BYTES];
  _Atomic uint64_t record_size;
  char record[TE_CLAIM_RECORD_BYTES_MAX];
} claim;

static_assert(sizeof(claim) == 256, "cache lines");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "two processes share them");

typedef struct claims_file {
  uint64_t magic;
  char wid[TE_ID_PRODUCER_BYTES];
  char service[TE_CLAIMS_SERVICE_BYTES];  // zeros until it is known
  char padding[28];
  _Atomic uint64_t executing[TE_CHILDREN_MAX];  // token + 1, or 0
  claim claims[TE_CLAIMS_MAX];
} claims_file;

struct te_claims {
  claims_file *file;
  int fd;             // a child has none
  char *path;         // to be unlinked; NULL: not
  size_t free_count;  // the rest is the master's own, not shared
  uint32_t free_list[TE_CLAIMS_MAX];
  char record[TE_CLAIM_RECORD_BYTES_MAX];  // as it was when it was looked at
};

static uint64_t word_of(uint32_t generation, enum claim_state state) {
  return (uint64_t)generation << 32 | (uint64_t)state;
}

static uint64_t token_number(te_token t) {
  return ((uint64_t)t.generation << 32 | t.claim) + 1;
}

static claim *claim_of(const te_claims *c, te_token t) {
  return t.claim < TE_CLAIMS_MAX ? &c->file->claims[t.claim] : NULL;
}

// What is shorter than it should be would be a SIGBUS.
static int map_file(te_claims *c) {
  struct stat st;
  if (fstat(c->fd, &st) < 0) return -errno;
  if (st.st_size != sizeof(claims_file)) return TE_EMALFORMED;
  void *p = mmap(NULL, sizeof(claims_file), PROT_READ | PROT_WRITE, MAP_SHARED,
                 c->fd, 0);
  if (p == MAP_FAILED) return -errno;
  c->file = p;
  return 0;
}

// One that a master has made.
static int map_filled(te_claims *c) {
  int rc = map_file(c);
  return rc == 0 && c->file->magic != MAGIC ? TE_EMALFORMED : rc;
}

static int open_new(const char *path) {
  if (path == NULL) return memfd_create("taskengine-claims", MFD_CLOEXEC);
  return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int lock(const te_claims *c) {
  if (flock(c->fd, LOCK_EX | LOCK_NB) == 0) return 0;
  return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

// All of it at once: a page that the disk has no room for when it is touched
// would be a SIGBUS.
static int reserve(const te_claims *c) {
  if (ftruncate(c->fd, sizeof(claims_file)) < 0) return -errno;
  int rc;
  do {
    rc = posix_fallocate(c->fd, 0, sizeof(claims_file));
  } while (rc == EINTR);
  bool is_unknown = rc == EOPNOTSUPP || rc == EINVAL;  // to this file system
  return is_unknown ? 0 : -rc;
}

static int fill_new(te_claims *c) {
  int rc = lock(c);
  if (rc == 0) rc = reserve(c);
  if (rc < 0) return rc;
  rc = map_file(c);
  if (rc == 0) c->file->magic = MAGIC;
  return rc;
}

static int create_unnamed(te_claims *c) {
  c->fd = open_new(NULL);
  return c->fd < 0 ? -errno : fill_new(c);
}

// It gets its name when it is locked and whole: whoever looks for dead ones
// never meets it before. An heir may take the draft for a dead one's before it
// is locked; then there is nothing to be locked, or to be renamed.
static int create_named(te_claims *c, const char *path) {
  char draft[PATH_MAX];
  int n = snprintf(draft, sizeof(draft), "%s" TE_CLAIMS_DRAFT, path);
  if (n < 0 || (size_t)n >= sizeof(draft)) return UV_ENAMETOOLONG;
  c->fd = open_new(draft);
  if (c->fd < 0) return -errno;
  int rc = fill_new(c);
  if (rc == 0 && rename(draft, path) < 0) rc = -errno;
  if (rc < 0) {
    unlink(draft);
    return rc;
  }
  c->path = te_strdup(path);
  return 0;
}

static te_claims *claims_new(void) {
  te_claims *c = te_alloc_zero(1, sizeof(*c));
  c->fd = -1;
  return c;
}

int te_claims_create(const char *path, te_claims **out) {
  te_claims *c = claims_new();
  int rc = path == NULL ? create_unnamed(c) : create_named(c, path);
  if (rc < 0) {
    te_claims_free(c);
    return rc;
  }
  // The lowest claim is given out first: few pages are touched.
  for (uint32_t i = 0; i < TE_CLAIMS_MAX; i++)
    c->free_list[i] = TE_CLAIMS_MAX - 1 - i;
  c->free_count = TE_CLAIMS_MAX;
  *out = c;
  return 0;
}

static int create_in(const char *folder, char **path, te_claims **out) {
  char name[TE_ID_PRODUCER_BYTES];
  char text[PATH_MAX];
  te_id_producer(name);
  int n = snprintf(text, sizeof(text), "%s/%.*s" TE_CLAIMS_SUFFIX, folder,
                   TE_ID_PRODUCER_BYTES, name);
  if (n < 0 || (size_t)n >= sizeof(text)) return UV_ENAMETOOLONG;
  int rc = te_claims_create(text, out);
  if (rc == 0) *path = te_strdup(text);
  return rc;
}

/*
 * Another master that stops takes the folder with it when it is empty, and one
 * that looks for dead ones may take the draft of a file: both may happen while
 * this one starts.
 */
int te_claims_create_in(const char *folder, char **path, te_claims **out) {
  int rc = create_in(folder, path, out);
  for (int tries = 1; tries < CREATE_TRIES; tries++) {
    if (rc != UV_ENOENT && rc != UV_EBUSY) break;
    mkdir(folder, 0700);  // whether it helped is seen next
    rc = create_in(folder, path, out);
  }
  return rc;
}

int te_claims_fd(const te_claims *c) {
  return c->fd;
}

void te_claims_free(te_claims *c) {
  if (c == NULL) return;
  if (c->path != NULL) unlink(c->path);
  if (c->file != NULL) munmap(c->file, sizeof(*c->file));
  if (c->fd >= 0) close(c->fd);
  te_free(c->path);
  te_free(c);
}

void te_claims_keep_file(te_claims *c) {
  te_free(c->path);
  c->path = NULL;
}

void te_claims_set_service(te_claims *c,
                           const char service[TE_CLAIMS_SERVICE_BYTES]) {
  memcpy(c->file->service, service, TE_CLAIMS_SERVICE_BYTES);
}

void te_claims_set_owner(te_claims *c, const char wid[TE_ID_PRODUCER_BYTES]) {
  assert(c->free_count == TE_CLAIMS_MAX);
  memcpy(c->file->wid, wid, TE_ID_PRODUCER_BYTES);
}

te_token te_claims_offer(te_claims *c, const char field[TE_FIELD_BYTES]) {
  assert(c->free_count > 0);
  te_token token;
  token.claim = c->free_list[--c->free_count];
  claim *slot = &c->file->claims[token.claim];
  token.generation = (uint32_t)(atomic_load(&slot->word) >> 32) + 1;
  memcpy(slot->field, field, TE_FIELD_BYTES);
  atomic_store(&slot->record_size, 0);
  atomic_store(&slot->word, word_of(token.generation, OFFERED));
  return token;
}

size_t te_claims_free_count(const te_claims *c) {
  return c->free_count;
}

static void set_free(te_claims *c, te_token token) {
  assert(c->free_count < TE_CLAIMS_MAX);
  c->free_list[c->free_count++] = token.claim;
}

bool te_claims_withdraw(te_claims *c, te_token token) {
  uint64_t offered = word_of(token.generation, OFFERED);
  if (!atomic_compare_exchange_strong(&claim_of(c, token)->word, &offered,
                                      word_of(token.generation, FREE)))
    return false;
  set_free(c, token);
  return true;
}

bool te_claims_is_taken(const te_claims *c, te_token token) {
  uint64_t word = atomic_load(&claim_of(c, token)->word);
  return word == word_of(token.generation, TAKEN) ||
         word == word_of(token.generation, ASKED);
}

uint64_t te_claims_taken_at(const te_claims *c, te_token token) {
  if (!te_claims_is_taken(c, token)) return 0;
  return atomic_load(&claim_of(c, token)->taken_at_ms);
}

void te_claims_ask(te_claims *c, te_token token) {
  uint64_t taken = word_of(token.generation, TAKEN);
  atomic_compare_exchange_strong(&claim_of(c, token)->word, &taken,
                                 word_of(token.generation, ASKED));
}

void te_claims_clear(te_claims *c, te_token token) {
  atomic_store(&claim_of(c, token)->word, word_of(token.generation, FREE));
  set_free(c, token);
}

static bool find_record(const claim *slot, te_slice *record) {
  size_t size = atomic_load(&slot->record_size);
  if (size > sizeof(slot->record)) return false;
  *record = te_slice_of(slot->record, size);
  return true;
}

/*
 * A copy: a child whose memory some C code has run over writes there whatever
 * it likes, whenever it likes, also between a look at it and the next.
 */
static bool copy_record(te_claims *c, te_token token, enum claim_state state,
                        te_slice *record) {
  const claim *slot = claim_of(c, token);
  if (atomic_load(&slot->word) != word_of(token.generation, state))
    return false;
  if (!find_record(slot, record)) return false;
  memcpy(c->record, record->data, record->size);
  record->data = c->record;
  return true;
}

bool te_claims_outcome(te_claims *c, te_token token, te_slice *record) {
  return copy_record(c, token, ENDED, record);
}

bool te_claims_will(te_claims *c, te_token token, te_slice *will) {
  return copy_record(c, token, TAKEN, will) && will->size > 0;
}

bool te_claims_is_executing(const te_claims *c, unsigned child,
                            te_token token) {
  assert(child < TE_CHILDREN_MAX);
  return atomic_load(&c->file->executing[child]) == token_number(token);
}

bool te_claims_is_busy(const te_claims *c, unsigned child) {
  assert(child < TE_CHILDREN_MAX);
  return atomic_load(&c->file->executing[child]) != 0;
}

void te_claims_reset_child(te_claims *c, unsigned child) {
  assert(child < TE_CHILDREN_MAX);
  atomic_store(&c->file->executing[child], 0);
}

// The mapping keeps the file, and so its lock, until the process is gone.
int te_claims_attach(int fd, te_claims **out) {
  te_claims *c = claims_new();
  c->fd = fd;
  int rc = map_filled(c);
  if (rc < 0) {
    te_claims_free(c);
    return rc;
  }
  close(c->fd);
  c->fd = -1;
  *out = c;
  return 0;
}

bool te_claims_take(te_claims *c, te_token token) {
  claim *slot = claim_of(c, token);
  uint64_t offered = word_of(token.generation, OFFERED);
  // The claim may be another's by now: its time is not to be touched then.
  if (slot == NULL || atomic_load(&slot->word) != offered) return false;
  // The time first: a master that sees it taken finds the time there.
  atomic_store(&slot->taken_at_ms, te_clock_ms());
  return atomic_compare_exchange_strong(&slot->word, &offered,
                                        word_of(token.generation, TAKEN));
}

bool te_claims_is_asked(const te_claims *c, te_token token) {
  const claim *slot = claim_of(c, token);
  return slot != NULL &&
         atomic_load(&slot->word) == word_of(token.generation, ASKED);
}

static bool write_record(claim *slot, te_slice record) {
  if (slot == NULL || record.size > sizeof(slot->record)) return false;
  atomic_store(&slot->record_size, record.size);
  memcpy(slot->record, record.data, record.size);
  return true;
}

void te_claims_bequeath(te_claims *c, te_token token, te_slice will) {
  if (claim_of(c, token) != NULL && te_claims_is_taken(c, token))
    write_record(claim_of(c, token), will);
}

bool te_claims_end(te_claims *c, te_token token, te_slice record) {
  claim *slot = claim_of(c, token);
  if (!write_record(slot, record)) return false;
  atomic_store(&slot->word, word_of(token.generation, ENDED));
  return true;
}

void te_claims_execute(te_claims *c, unsigned child, te_token token) {
  atomic_store(&c->file->executing[child], token_number(token));
}

void te_claims_pause(te_claims *c, unsigned child) {
  atomic_store(&c->file->executing[child], 0);
}

// What can be locked is nobody's any more, and to be removed; but not what is
// no file at all.
static int lock_dead(te_claims *c, const char *path) {
  struct stat st;
  c->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (c->fd < 0 || fstat(c->fd, &st) < 0) return -errno;
  if (!S_ISREG(st.st_mode)) return UV_EINVAL;
  int rc = lock(c);
  if (rc == 0) c->path = te_strdup(path);
  return rc;
}

int te_claims_open_dead(const char *path, te_claims **out) {
  te_claims *c = claims_new();
  int rc = lock_dead(c, path);
  if (rc == 0) rc = map_filled(c);
  if (rc < 0) {
    te_claims_free(c);
    return rc;
  }
  *out = c;
  return 0;
}

int te_claims_sweep_draft(const char *path) {
  te_claims *c = claims_new();
  int rc = lock_dead(c, path);
  te_claims_free(c);
  return rc;
}

bool te_claims_serve(const te_claims *c,
                     const char service[TE_CLAIMS_SERVICE_BYTES]) {
  static const char none[TE_CLAIMS_SERVICE_BYTES];
  return memcmp(c->file->service, service, TE_CLAIMS_SERVICE_BYTES) == 0 ||
         memcmp(c->file->service, none, TE_CLAIMS_SERVICE_BYTES) == 0;
}

void te_claims_owner(const te_claims *c, char wid[TE_ID_PRODUCER_BYTES]) {
  memcpy(wid, c->file->wid, TE_ID_PRODUCER_BYTES);
}

void te_claims_each_begun(const te_claims *c,
                          void (*each)(void *arg, te_slice field,
                                       te_slice outcome),
                          void *arg) {
  for (size_t i = 0; i < TE_CLAIMS_MAX; i++) {
    const claim *slot = &c->file->claims[i];
    uint32_t state = (uint32_t)atomic_load(&slot->word);
    te_slice outcome = {"", 0};
    if (state != TAKEN && state != ASKED && state != ENDED) continue;
    if (state == ENDED && !find_record(slot, &outcome)) continue;
    each(arg, te_slice_of(slot->field, TE_FIELD_BYTES), outcome);
  }
}
