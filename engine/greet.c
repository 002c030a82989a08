#include "greet.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define VERSION_MIN     7
#define RELEASE_SHIFT   32
#define STEPS_MAX       4   // commands that go out together
#define ROUNDS_MAX      10  // probes until the library is settled
#define WHY_BYTES_MAX   512
#define QUOTE_BYTES_MAX 200
#define GUARD_BYTES_MAX 256  // a key's name

typedef enum step {
  STEP_AUTH,
  STEP_SETNAME,
  STEP_INFO,
  STEP_PROBE,
  STEP_LOAD,
  STEP_PROBE_WATCHED,  // nobody replaces the library now without my knowing
  STEP_EXEC,
  STEP_PLAIN,  // of which only a refusal matters: WATCH, MULTI, SELECT...
} step;

typedef struct command {
  step step;
  const char *name;
} command;

struct te_greet {
  te_greet_options o;
  command commands[STEPS_MAX];  // those written, in order
  size_t command_count;
  size_t command_at;  // the one whose reply comes next
  int rounds;
  char why[WHY_BYTES_MAX];
};

// What a server may answer to anything, by the beginning of its text.
typedef struct refusal {
  const char *head;
  int code;
  const char *text;  // behind "Redis at PLACE "
} refusal;

static const refusal refusals[] = {
    {"LOADING", TE_EDOWN, "is still loading its data"},
    {"BUSY", TE_EDOWN, "is busy with a script"},
    {"MASTERDOWN", TE_EDOWN, "is a replica that has lost its master"},
    {"READONLY", TE_EDOWN, "is a read-only replica: name its master"},
    {"CLUSTERDOWN", TE_EDOWN, "belongs to a cluster that is down"},
    {"NOREPLICAS", TE_EDOWN, "takes no writes: it misses its replicas"},
    {"MISCONF", TE_EDOWN, "takes no writes: it cannot save to its disk"},
    {"OOM", TE_EDOWN, "takes no writes: its memory is full (maxmemory)"},
    {"ERR max number of clients", TE_EDOWN,
     "takes no more clients (maxclients)"},
    {"TRYAGAIN", TE_EDOWN, "is moving its keys to another node"},
    {"NOAUTH", TE_EAUTH,
     "wants a password: write it into the URL as :password@ or "
     "user:password@"},
    {"DENIED", TE_EAUTH,
     "runs in protected mode, which lets only its own host in: give it a "
     "password (requirepass)"},
};

te_greet *te_greet_new(const te_greet_options *options) {
  te_greet *g = te_alloc_zero(1, sizeof(*g));
  g->o = *options;
  return g;
}

void te_greet_free(te_greet *g) {
  te_free(g);
}

const char *te_greet_why(const te_greet *g) {
  return g->why;
}

__attribute__((format(printf, 3, 4))) static int
refuse(te_greet *g, int code, const char *format, ...) {
  int size = snprintf(g->why, sizeof(g->why), "Redis at %s ", g->o.place);
  va_list args;
  va_start(args, format);
  if (size >= 0 && (size_t)size < sizeof(g->why)) {
    vsnprintf(g->why + size, sizeof(g->why) - (size_t)size, format, args);
  }
  va_end(args);
  return code;
}

static void mask(char *text, const char *secret) {
  size_t size = secret == NULL ? 0 : strlen(secret);
  size_t stars = size < 3 ? size : 3;  // not its length either
  if (size == 0) return;
  for (char *at = strstr(text, secret); at != NULL;) {
    memset(at, '*', stars);
    at += stars;
    char *rest = at + size - stars;
    memmove(at, rest, strlen(rest) + 1);
    at = strstr(at, secret);
  }
}

/*
 * What the server said, fit for a line of a log. The whole is masked before
 * it is cut, so that no part of a password is left at the end.
 */
static void quote(te_greet *g, te_slice text, char out[QUOTE_BYTES_MAX]) {
  char *copy = te_slice_dup(text);
  mask(copy, g->o.url->password);
  for (char *c = copy; *c != '\0'; c++)
    if (iscntrl((unsigned char)*c)) *c = '?';
  snprintf(out, QUOTE_BYTES_MAX, "%s", copy);
  te_free(copy);
}

// NULL for one that the table does not have.
static const refusal *find_refusal(const te_reply *error) {
  for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
    if (te_reply_is_error(error, refusals[i].head)) return &refusals[i];
  return NULL;
}

bool te_greet_is_passing(const te_reply *error) {
  const refusal *r = find_refusal(error);
  return r != NULL && r->code == TE_EDOWN;
}

// `reply` is an error: what follows from it. `to` is the command.
static int judge(te_greet *g, const te_reply *reply, const char *to) {
  const refusal *r = find_refusal(reply);
  if (r != NULL) return refuse(g, r->code, "%s", r->text);
  char said[QUOTE_BYTES_MAX];
  quote(g, reply->text, said);
  int code = te_reply_is_error(reply, "NOPERM") ? TE_EAUTH : TE_EVERSION;
  return refuse(g, code, "answered %s with: %s", to, said);
}

static int confuse(te_greet *g, const char *to) {
  return refuse(g, TE_EPROTO, "gave no answer that fits %s", to);
}

static void say(te_greet *g, te_buf *out, step s, size_t argc,
                const char *const *argv) {
  if (g->command_at == g->command_count) g->command_at = g->command_count = 0;
  assert(g->command_count < STEPS_MAX);
  g->commands[g->command_count++] = (command){s, argv[0]};
  te_resp_add_array(out, argc);
  for (size_t i = 0; i < argc; i++)
    te_resp_add_string(out, te_slice_str(argv[i]));
}

#define SAY(g, out, step, ...)                                                 \
  say(g, out, step,                                                            \
      sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),            \
      (const char *[]){__VA_ARGS__})

static void say_probe(te_greet *g, te_buf *out, step s) {
  g->rounds++;
  SAY(g, out, s, "FCALL", g->o.library_probe, "0");
}

// Returns 1 when nothing is left to say.
static int say_select(te_greet *g, te_buf *out) {
  if (g->o.url->db == 0) return 1;
  char db[16];
  snprintf(db, sizeof(db), "%d", g->o.url->db);
  SAY(g, out, STEP_PLAIN, "SELECT", db);
  return 0;
}

void te_greet_start(te_greet *g, te_buf *out) {
  const te_url *url = g->o.url;
  g->command_at = g->command_count = 0;
  g->rounds = 0;
  if (url->password != NULL && url->user != NULL) {
    SAY(g, out, STEP_AUTH, "AUTH", url->user, url->password);
  } else if (url->password != NULL) {
    SAY(g, out, STEP_AUTH, "AUTH", url->password);
  }
  if (g->o.client_name != NULL) {
    SAY(g, out, STEP_SETNAME, "CLIENT", "SETNAME", g->o.client_name);
  }
  SAY(g, out, STEP_INFO, "INFO");
  if (g->o.library_code != NULL) {
    say_probe(g, out, STEP_PROBE);
  } else {
    say_select(g, out);
  }
}

void te_greet_declare(te_greet *g, te_buf *out) {
  assert(g->o.library_code != NULL && g->command_at == g->command_count);
  g->rounds = 0;
  if (g->o.url->db != 0) SAY(g, out, STEP_PLAIN, "SELECT", "0");
  say_probe(g, out, STEP_PROBE);
}

/*
 * Nothing of the server's text is passed on: what it echoes of AUTH may be
 * cut off, and then hides from the mask.
 */
static int on_auth(te_greet *g, const te_reply *reply) {
  if (reply->type != TE_REPLY_ERROR) return 0;
  if (te_reply_is_error(reply, "WRONGPASS")) {
    return refuse(g, TE_EAUTH, "refused the user name or the password");
  }
  if (te_reply_is_error(reply, "ERR AUTH ") ||
      te_reply_is_error(reply, "ERR Client sent AUTH")) {
    return refuse(g, TE_EAUTH, "has no password set: leave it out of the URL");
  }
  int code = judge(g, reply, "AUTH");
  if (code != TE_EVERSION) return code;
  return refuse(g, TE_EAUTH, "did not accept AUTH");
}

// The value of a line "name:value" of INFO; empty when there is none.
static te_slice info_field(te_slice info, const char *name) {
  size_t size = strlen(name);
  const char *end = info.data + info.size;
  for (const char *at = info.data; at < end;) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (stop == NULL) stop = end;
    size_t line = (size_t)(stop - at);
    if (line > size && memcmp(at, name, size) == 0 && at[size] == ':') {
      te_slice value = te_slice_of(at + size + 1, line - size - 1);
      if (value.size > 0 && value.data[value.size - 1] == '\r') value.size--;
      return value;
    }
    if (stop == end) break;
    at = stop + 1;
  }
  return te_slice_of(NULL, 0);
}

static bool is_field(te_slice info, const char *name, const char *value) {
  return te_slice_equal(info_field(info, name), te_slice_str(value));
}

static int major_of(te_slice version) {
  int major = 0;
  for (size_t i = 0; i < version.size && i < 4; i++) {
    if (!isdigit((unsigned char)version.data[i])) break;
    major = major * 10 + (version.data[i] - '0');
  }
  return major;
}

static int on_info(te_greet *g, const te_reply *reply) {
  char said[QUOTE_BYTES_MAX];
  if (reply->type == TE_REPLY_ERROR) return judge(g, reply, "INFO");
  if (reply->type != TE_REPLY_STRING) return confuse(g, "INFO");

  // Valkey announces a redis_version too, that of its origin.
  te_slice version = info_field(reply->text, "redis_version");
  if (version.size == 0) {
    return refuse(g, TE_EVERSION, "does not tell its version");
  }
  if (major_of(version) < VERSION_MIN) {
    quote(g, version, said);
    snprintf(g->why, sizeof(g->why),
             "Redis %s at %s is too old: taskengine needs %d.0 or newer "
             "(functions)",
             said, g->o.place, VERSION_MIN);
    return TE_EVERSION;
  }
  if (is_field(reply->text, "loading", "1")) {
    return refuse(g, TE_EDOWN, "is still loading its data");
  }
  if (is_field(reply->text, "role", "slave")) {
    return refuse(g, TE_EDOWN, "is a read-only replica: name its master");
  }
  if (!is_field(reply->text, "maxmemory_policy", "noeviction")) {
    quote(g, info_field(reply->text, "maxmemory_policy"), said);
    return refuse(g, TE_EVERSION,
                  "may throw tasks away (maxmemory-policy %s): set "
                  "maxmemory-policy noeviction (CONFIG SET maxmemory-policy "
                  "noeviction, and in redis.conf)",
                  said);
  }
  return 0;
}

static bool is_outdated(const te_greet *g, int64_t build) {
  return build != g->o.library_build &&
         build >> RELEASE_SHIFT <= g->o.library_build >> RELEASE_SHIFT;
}

// The key that tells of a replacement, so that it can be watched.
static void guard_key(const te_greet *g, char key[GUARD_BYTES_MAX]) {
  snprintf(key, GUARD_BYTES_MAX, "te:declare:%s", g->o.library_probe);
}

static int on_probe(te_greet *g, const te_reply *reply, te_buf *out) {
  if (te_reply_is_error(reply, "ERR Function not found")) {
    SAY(g, out, STEP_LOAD, "FUNCTION", "LOAD", g->o.library_code);
    return 0;
  }
  if (reply->type == TE_REPLY_ERROR) return judge(g, reply, "FCALL");
  if (reply->type != TE_REPLY_INTEGER) return confuse(g, "the library's probe");
  if (!is_outdated(g, reply->integer)) return say_select(g, out);

  char guard[GUARD_BYTES_MAX];
  guard_key(g, guard);
  SAY(g, out, STEP_PLAIN, "WATCH", guard);
  say_probe(g, out, STEP_PROBE_WATCHED);
  return 0;
}

static int on_probe_watched(te_greet *g, const te_reply *reply, te_buf *out) {
  if (reply->type != TE_REPLY_INTEGER || !is_outdated(g, reply->integer)) {
    // Changed since the probe before; that one knows what to do.
    SAY(g, out, STEP_PLAIN, "UNWATCH");
    say_probe(g, out, STEP_PROBE);
    return 0;
  }
  char guard[GUARD_BYTES_MAX];
  guard_key(g, guard);
  SAY(g, out, STEP_PLAIN, "MULTI");
  SAY(g, out, STEP_PLAIN, "SET", guard, "1", "EX", "60");
  SAY(g, out, STEP_PLAIN, "FUNCTION", "LOAD", "REPLACE", g->o.library_code);
  SAY(g, out, STEP_EXEC, "EXEC");
  return 0;
}

static int on_load(te_greet *g, const te_reply *reply, te_buf *out) {
  if (te_reply_is_error(reply, "ERR Library '")) {  // ... already exists
    say_probe(g, out, STEP_PROBE);
    return 0;
  }
  if (reply->type == TE_REPLY_ERROR) return judge(g, reply, "FUNCTION LOAD");
  return say_select(g, out);
}

static int on_exec(te_greet *g, const te_reply *reply, te_buf *out) {
  if (reply->type == TE_REPLY_NIL) {  // somebody else replaced it
    say_probe(g, out, STEP_PROBE);
    return 0;
  }
  if (reply->type == TE_REPLY_ARRAY && reply->count == 2) {
    return on_load(g, reply->item[1], out);
  }
  if (reply->type == TE_REPLY_ERROR) return judge(g, reply, "EXEC");
  return confuse(g, "EXEC");
}

static int on_plain(te_greet *g, const te_reply *reply, const char *to) {
  return reply->type == TE_REPLY_ERROR ? judge(g, reply, to) : 0;
}

static int take_reply(te_greet *g, const te_reply *reply, te_buf *out) {
  const command *c = &g->commands[g->command_at++];
  switch (c->step) {
    case STEP_AUTH: return on_auth(g, reply);
    case STEP_SETNAME: return 0;
    case STEP_INFO: return on_info(g, reply);
    case STEP_PROBE: return on_probe(g, reply, out);
    case STEP_LOAD: return on_load(g, reply, out);
    case STEP_PROBE_WATCHED: return on_probe_watched(g, reply, out);
    case STEP_EXEC: return on_exec(g, reply, out);
    case STEP_PLAIN: return on_plain(g, reply, c->name);
  }
  return TE_EPROTO;
}

int te_greet_reply(te_greet *g, const te_reply *reply, te_buf *out) {
  assert(g->command_at < g->command_count);
  int rc = take_reply(g, reply, out);
  if (rc < 0) return rc;
  if (g->rounds > ROUNDS_MAX) {
    return refuse(g, TE_EDOWN, "has its function library changed all the time");
  }
  return g->command_at == g->command_count ? 1 : 0;
}
