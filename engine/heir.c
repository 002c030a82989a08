#include "heir.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "claims.h"
#include "fcall.h"
#include "log.h"
#include "record.h"
#include "report.h"
#include "task.h"
#include "verdict.h"

#define PAUSE_MS  50
#define TRIES_MAX 20
// Of estate.ended: what one call tells.
#define PORTION   ((size_t)2 * TE_REPORT_COSTLY_MAX)

struct te_heir {
  char *dir;
  char *own_path;
  te_redis *redis;
  char *prefix;
  char service[TE_CLAIMS_SERVICE_BYTES];
  uint64_t lease_ms;
  uv_timer_t again;
  unsigned tries;
  size_t open_parts;  // the timer, and estates
  bool is_closed;
};

// What a dead master held, until Redis has been told.
typedef struct estate {
  te_heir *heir;
  te_claims *claims;
  char wid[TE_ID_PRODUCER_BYTES];
  te_slice begun[TE_CLAIMS_MAX];
  size_t begun_count;
  te_slice ended[2 * TE_CLAIMS_MAX];  // fields and outcomes
  size_t ended_count;
} estate;

static void release(te_heir *h) {
  if (--h->open_parts > 0) return;
  te_free(h->dir);
  te_free(h->own_path);
  te_free(h->prefix);
  te_free(h);
}

static void sort_out(void *arg, te_slice field, te_slice outcome) {
  estate *e = arg;
  te_verdict verdict;
  bool has_ended = te_record_is_outcome(outcome) ||
                   te_verdict_read(outcome, &verdict) == 0 ||
                   te_record_is_delegation(outcome);
  if (has_ended) {
    e->ended[e->ended_count++] = field;
    e->ended[e->ended_count++] = outcome;
  } else if (!te_slice_equal(outcome, te_slice_str(TE_OUTCOME_UNKNOWN))) {
    e->begun[e->begun_count++] = field;
  }  // one that it did not know goes back
}

// As report.c does it.
static void add_ended(te_redis *redis, te_slice field, te_slice outcome) {
  const char *operation = te_verdict_is(outcome)             ? "r"
                          : te_record_is_delegation(outcome) ? "w"
                                                             : "o";
  te_fcall_add_str(redis, operation);
  te_redis_add(redis, field);
  if (operation[0] != 'o')
    outcome = te_slice_of(outcome.data + 1, outcome.size - 1);
  te_redis_add(redis, outcome);
}

static void tell_portion(const estate *e, const te_slice *ended, size_t count) {
  const te_heir *h = e->heir;
  te_fcall_begin(h->redis, h->prefix, "te1_finish", 2 + count / 2 * 3);
  te_redis_add(h->redis, te_slice_of(e->wid, sizeof(e->wid)));
  te_fcall_add_number(h->redis, h->lease_ms);
  for (size_t i = 0; i < count; i += 2)
    add_ended(h->redis, ended[i], ended[i + 1]);
  te_redis_end(h->redis, 0, NULL, NULL);
}

// In its name; when its lease is gone this does nothing. What has ended may be
// far more than a worker tells at once.
static void tell_ended(const estate *e) {
  for (size_t i = 0; i < e->ended_count; i += PORTION) {
    size_t left = e->ended_count - i;
    tell_portion(e, e->ended + i, left < PORTION ? left : PORTION);
  }
}

static void on_reaped(void *arg, int status, const te_reply *reply) {
  estate *e = arg;
  bool is_done = status == 0 && reply->type == TE_REPLY_INTEGER;
  if (is_done && reply->integer > 0) {
    te_log(TE_LOG_INFO, "took %lld tasks over from a worker that died here",
           (long long)reply->integer);
  }
  // Else the next look, or the next worker, finds them again.
  if (!is_done) te_claims_keep_file(e->claims);
  te_claims_free(e->claims);
  release(e->heir);
  te_free(e);
}

static void reap(estate *e) {
  const te_heir *h = e->heir;
  te_fcall_begin(h->redis, h->prefix, "te1_reap", 3 + e->begun_count);
  te_redis_add(h->redis, te_slice_of(e->wid, sizeof(e->wid)));
  te_fcall_add_str(h->redis, "1");  // it is dead, whatever its lease says
  te_fcall_add_poisoned(h->redis);
  for (size_t i = 0; i < e->begun_count; i++)
    te_redis_add(h->redis, e->begun[i]);
  te_redis_end(h->redis, 0, on_reaped, e);
}

// False when that one lives, or its children are about to die.
static bool inherit(te_heir *h, const char *path) {
  te_claims *dead;
  int rc = te_claims_open_dead(path, &dead);
  if (rc < 0) return rc != UV_EBUSY;
  if (!te_claims_serve(dead, h->service)) {
    te_claims_keep_file(dead);
    te_claims_free(dead);
    return true;
  }
  estate *e = te_alloc_zero(1, sizeof(*e));
  e->heir = h;
  e->claims = dead;
  h->open_parts++;
  te_claims_owner(dead, e->wid);
  te_claims_each_begun(dead, sort_out, e);
  tell_ended(e);
  reap(e);
  return true;
}

static bool has_suffix(const char *name, const char *suffix) {
  size_t n = strlen(name);
  size_t m = strlen(suffix);
  return n > m && strcmp(name + n - m, suffix) == 0;
}

// False when it is to be looked at again.
static bool look_at(te_heir *h, const char *path) {
  if (has_suffix(path, TE_CLAIMS_SUFFIX TE_CLAIMS_DRAFT)) {
    te_claims_sweep_draft(path);
    return true;
  }
  return !has_suffix(path, TE_CLAIMS_SUFFIX) ||
         strcmp(path, h->own_path) == 0 || inherit(h, path);
}

// Whether all of them were dealt with.
static bool look_at_all(te_heir *h) {
  DIR *dir = opendir(h->dir);
  if (dir == NULL) return true;
  bool is_all = true;
  const struct dirent *entry;
  while ((entry = readdir(dir)) != NULL) {
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/%s", h->dir, entry->d_name);
    if (n > 0 && (size_t)n < sizeof(path)) is_all = look_at(h, path) && is_all;
  }
  closedir(dir);
  return is_all;
}

static void on_again(uv_timer_t *timer) {
  te_heir *h = timer->data;
  if (!te_redis_is_up(h->redis) || look_at_all(h)) return;
  if (++h->tries > TRIES_MAX) return;
  uv_timer_start(timer, on_again, PAUSE_MS, 0);
}

void te_heir_look(te_heir *h) {
  if (h->is_closed) return;
  h->tries = 0;
  on_again(&h->again);
}

te_heir *te_heir_new(uv_loop_t *loop, const te_heir_options *options) {
  te_heir *h = te_alloc_zero(1, sizeof(*h));
  h->dir = te_strdup(options->dir);
  h->own_path = te_strdup(options->own_path);
  h->redis = options->redis;
  h->prefix = te_strdup(options->prefix);
  memcpy(h->service, options->service, sizeof(h->service));
  h->lease_ms = options->lease_ms;
  uv_timer_init(loop, &h->again);
  h->again.data = h;
  h->open_parts = 1;
  return h;
}

static void on_timer_close(uv_handle_t *handle) {
  release(handle->data);
}

void te_heir_close(te_heir *h) {
  if (h == NULL || h->is_closed) return;
  h->is_closed = true;
  uv_close((uv_handle_t *)&h->again, on_timer_close);
}
