/*
 * The URL of a broker: what is shown of it is the same place.
 */
#include "url.h"

#include <string.h>

#include "support/fuzz.h"

static bool same_text(const char *a, const char *b) {
  return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void check_same(const te_url *a, const te_url *b) {
  assert(a->scheme == b->scheme && a->port == b->port && a->db == b->db);
  assert(same_text(a->host, b->host) && same_text(a->path, b->path));
  assert(same_text(a->name, b->name) && same_text(a->user, b->user));
  char *place_a = te_url_place(a);
  char *place_b = te_url_place(b);
  assert(same_text(place_a, place_b));
  te_free(place_a);
  te_free(place_b);
}

static void check_shown(const te_url *url) {
  char why[256];
  char *shown = te_url_masked(url);
  te_url again;
  int rc = te_url_parse(te_slice_str(shown), &again, why, sizeof(why));
  if (strlen(shown) > TE_URL_BYTES_MAX) {
    assert(rc < 0);  // by its escapes
  } else {
    assert(rc == 0);
    check_same(url, &again);
    const char *hidden = url->password == NULL ? NULL : "***";
    assert(same_text(again.password, hidden));
  }
  te_url_free(&again);
  te_free(shown);
}

void fuzz_one(te_slice bytes) {
  char why[256];
  te_url url;
  int rc = te_url_parse(bytes, &url, why, sizeof(why));
  if (rc == 0) {
    te_url copy;
    te_url_copy(&copy, &url);
    check_shown(&copy);
    te_url_free(&copy);
  }
  te_url_free(&url);
}
