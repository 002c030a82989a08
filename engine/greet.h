/*
 * greet: what is said on a connection to Redis before it can be used.
 *
 *   AUTH user password       when the URL has them
 *   CLIENT SETNAME name      when there is one; a refusal does not matter
 *   INFO                     version, eviction policy, role, loading
 *   the library              declared when it is missing or an older one
 *   SELECT db                when it is not 0
 *
 * A machine without I/O: it writes commands into a buffer and is handed the
 * replies, one for each command, in order.
 *
 * The library. FCALL of its probe answers the build that is loaded: the
 * release of its text in the upper 32 bits, a digest of it in the lower. None:
 * FUNCTION LOAD, which fails when somebody else was faster. A lower release,
 * or another text of the same one (only while one is being written are there
 * two): FUNCTION LOAD REPLACE, in a MULTI under a WATCH of the key
 * `te:declare:<probe>` (it lives a minute, in database 0), so that of two who
 * replace the same build at once the lower release can never come last.
 */
#ifndef TE_GREET_H
#define TE_GREET_H

#include "resp.h"
#include "url.h"

typedef struct te_greet te_greet;

typedef struct te_greet_options {
  const te_url *url;         // kept: must outlive the greet, as all of these
  const char *place;         // the server, for sentences
  const char *client_name;   // NULL for none
  const char *library_code;  // NULL for none
  const char *library_probe;
  int64_t library_build;
} te_greet_options;

te_greet *te_greet_new(const te_greet_options *options);  // caller frees
void te_greet_free(te_greet *g);                          // NULL is fine

// Writes the first commands on a new connection.
void te_greet_start(te_greet *g, te_buf *out);

// The library only, on a connection where it turned out to be missing.
void te_greet_declare(te_greet *g, te_buf *out);

/*
 * Takes the reply to the first command that has none yet, and may write more
 * commands. Returns 1 when all is said, 0 when replies are still to come, or
 * a code: TE_EAUTH and TE_EVERSION (trying again does not help), TE_EDOWN
 * (the server cannot be used right now), TE_EPROTO.
 */
int te_greet_reply(te_greet *g, const te_reply *reply, te_buf *out);

// Whether a server that answers with this error may do otherwise soon.
bool te_greet_is_passing(const te_reply *error);

// After a code: a sentence that names the server and holds no secret.
const char *te_greet_why(const te_greet *g);

#endif
