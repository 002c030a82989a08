/*
 * url: what a broker URL says.
 *
 *   redis://[[user]:password@]host[:port][/db]
 *   redis+unix://[[user]:password@]/path/to.sock[?db=N]
 *   embedded://[name]          a private Redis, see embedded.h
 *
 * Percent-escapes in user, password, path and the zone of an IPv6 address
 * ([fe80::1%25eth0]) are decoded; no escape may stand for a control character.
 * An embedded name follows the rule for names and begins with no dot, because
 * it becomes a folder. rediss, redis+sentinel and redis+cluster are known and
 * answer TE_ENOTBUILT.
 */
#ifndef TE_URL_H
#define TE_URL_H

#include "te.h"

#define TE_URL_BYTES_MAX 4096

typedef enum te_scheme {
  TE_SCHEME_REDIS,
  TE_SCHEME_UNIX,
  TE_SCHEME_EMBEDDED,
} te_scheme;

typedef struct te_url {
  te_scheme scheme;
  char *user;      // NULL when not given
  char *password;  // NULL when not given
  char *host;      // TE_SCHEME_REDIS: name or address, without brackets
  char *path;      // TE_SCHEME_UNIX: the socket
  char *name;      // TE_SCHEME_EMBEDDED: "default" when not given
  int port;        // 6379 when not given
  int db;          // 0 when not given
} te_url;

/*
 * Fills `out`; the caller frees it with te_url_free. On failure returns
 * TE_EBADURL or TE_ENOTBUILT, leaves `out` empty and writes a sentence that
 * never holds the password into `why`.
 */
int te_url_parse(te_slice text, te_url *out, char *why, size_t why_size);
void te_url_free(te_url *url);  // an empty (zeroed) one is fine
void te_url_copy(te_url *out, const te_url *url);  // caller frees `out`

// The URL for people: password replaced by ***. Caller frees with te_free.
char *te_url_masked(const te_url *url);

// Only the server: "host:port", "[::1]:6379", the socket's path, or the
// embedded URL. Caller frees with te_free.
char *te_url_place(const te_url *url);

#endif
