/*
 * The file of a master that died, with whatever in it: what an heir reads of
 * it lies within, and the file is gone afterwards.
 */
#include "claims.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "support/fuzz.h"

#define HEADER_BYTES 64
#define CLAIMS_AT    (HEADER_BYTES + TE_CHILDREN_MAX * 8)

// In the input's first byte: what is done to the file besides.
enum { CUTS = 1, OVERWRITES_HEADER = 2 };

static const char *path(void) {
  static char text[64];
  snprintf(text, sizeof(text), "/tmp/taskengine-fuzz-%d.claims", getpid());
  return text;
}

static void write_at(int fd, te_slice bytes, off_t at) {
  ssize_t written = pwrite(fd, bytes.data, bytes.size, at);
  assert(written == (ssize_t)bytes.size);
}

// A good file with the input over it.
static void make_file(te_slice bytes) {
  te_claims *c = NULL;
  int rc = te_claims_create(path(), &c);
  assert(rc == 0);
  te_claims_keep_file(c);
  te_claims_free(c);

  int fd = open(path(), O_WRONLY);
  assert(fd >= 0);
  uint8_t how = (uint8_t)bytes.data[0];
  te_slice rest = te_slice_of(bytes.data + 1, bytes.size - 1);
  if (how & OVERWRITES_HEADER && rest.size >= HEADER_BYTES) {
    write_at(fd, te_slice_of(rest.data, HEADER_BYTES), 0);
    rest = te_slice_of(rest.data + HEADER_BYTES, rest.size - HEADER_BYTES);
  }
  write_at(fd, rest, CLAIMS_AT);
  if (how & CUTS) {
    rc = ftruncate(fd, (off_t)rest.size * 4096);
    assert(rc == 0);
  }
  close(fd);
}

static void look(void *sum, te_slice field, te_slice outcome) {
  assert(field.size == TE_FIELD_BYTES);
  assert(outcome.size <= TE_CLAIM_RECORD_BYTES_MAX);
  for (size_t i = 0; i < outcome.size; i++)
    *(volatile unsigned *)sum += (uint8_t)outcome.data[i];
}

void fuzz_one(te_slice bytes) {
  if (bytes.size == 0) return;
  make_file(bytes);
  te_claims *c = NULL;
  if (te_claims_open_dead(path(), &c) == 0) {
    unsigned sum = 0;
    char wid[TE_ID_PRODUCER_BYTES];
    te_claims_owner(c, wid);
    te_claims_serve(c, "0123456789abcde");
    te_claims_each_begun(c, look, &sum);
    te_claims_free(c);
  }
  assert(access(path(), F_OK) != 0);
}
