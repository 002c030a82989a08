#include "url.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "buf.h"

#define PORT_DEFAULT 6379
#define PORT_MAX     65535

/*
 * What is left to read, and where the sentence goes when it is malformed.
 * A sentence quotes nothing of the text: a character that should have been
 * escaped can make any part of it part of the password.
 */
typedef struct parser {
  te_slice rest;
  char *why;
  size_t why_size;
} parser;

typedef struct scheme {
  const char *name;
  int (*parse)(parser *p, te_url *out);  // NULL: not built yet
  te_scheme id;
} scheme;

static int refuse(parser *p, const char *sentence) {
  snprintf(p->why, p->why_size, "%s", sentence);
  return TE_EBADURL;
}

static te_slice take(parser *p, size_t size) {
  te_slice head = te_slice_of(p->rest.data, size);
  p->rest = te_slice_of(p->rest.data + size, p->rest.size - size);
  return head;
}

// Takes what comes before the first of `stops`, or all.
static te_slice take_until(parser *p, const char *stops) {
  size_t size = 0;
  while (size < p->rest.size && strchr(stops, p->rest.data[size]) == NULL)
    size++;
  return take(p, size);
}

static bool take_byte(parser *p, char c) {
  if (p->rest.size == 0 || p->rest.data[0] != c) return false;
  take(p, 1);
  return true;
}

static bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
         (c >= 'A' && c <= 'Z');
}

static bool is_all(te_slice text, const char *others) {
  for (size_t i = 0; i < text.size; i++) {
    char c = text.data[i];
    if (!is_alnum(c) && strchr(others, c) == NULL) return false;
  }
  return true;
}

static bool starts_with(te_slice text, const char *head) {
  size_t size = strlen(head);
  return text.size >= size && memcmp(text.data, head, size) == 0;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Undoes percent-escapes; NULL when one is broken. Caller frees.
static char *decode(te_slice text) {
  char *out = te_alloc(text.size + 1);
  size_t size = 0;
  for (size_t i = 0; i < text.size; i++, size++) {
    out[size] = text.data[i];
    if (out[size] != '%') continue;
    int high = i + 2 < text.size ? hex_digit(text.data[i + 1]) : -1;
    int low = high < 0 ? -1 : hex_digit(text.data[i + 2]);
    int c = high * 16 + low;
    if (low < 0 || c < ' ' || c == 0x7f) {
      te_free(out);
      return NULL;
    }
    out[size] = (char)c;
    i += 2;
  }
  out[size] = '\0';
  return out;
}

// Digits only; -1 for anything else and for more than `max`.
static int parse_int(te_slice text, int max) {
  int64_t value = 0;
  if (text.size == 0) return -1;
  for (size_t i = 0; i < text.size; i++) {
    if (text.data[i] < '0' || text.data[i] > '9') return -1;
    value = value * 10 + (text.data[i] - '0');
    if (value > max) return -1;
  }
  return (int)value;
}

static int parse_db(parser *p, te_slice text, te_url *out) {
  out->db = parse_int(text, INT_MAX);
  if (out->db < 0) return refuse(p, "the database is not a number");
  return 0;
}

// Takes "[[user]:password@]" from the front of an authority.
static int parse_login(parser *p, te_url *out) {
  const char *at = memrchr(p->rest.data, '@', p->rest.size);
  if (at == NULL) return 0;
  te_slice login = take(p, (size_t)(at - p->rest.data));
  take(p, 1);

  const char *colon = memchr(login.data, ':', login.size);
  if (colon == NULL) {
    return refuse(p, "a user or password without ':' before '@', "
                     "write user:password@ or :password@");
  }
  size_t user_size = (size_t)(colon - login.data);
  if (user_size > 0) {
    out->user = decode(te_slice_of(login.data, user_size));
    if (out->user == NULL) return refuse(p, "a broken escape in the user");
  }
  out->password = decode(te_slice_of(colon + 1, login.size - user_size - 1));
  if (out->password == NULL) {
    return refuse(p, "a broken escape in the password");
  }
  return 0;
}

// What stands between [ and ]: an address, and maybe %25 and a zone.
static bool is_bracketed(te_slice host) {
  const char *percent = memchr(host.data, '%', host.size);
  te_slice address = host;
  if (percent != NULL) {
    address.size = (size_t)(percent - host.data);
    te_slice zone = te_slice_of(percent, host.size - address.size);
    if (!starts_with(zone, "%25") || zone.size == 3) return false;
    if (!is_all(zone, "-._~:%")) return false;
  }
  return memchr(address.data, ':', address.size) != NULL &&
         is_all(address, ":.");
}

static int parse_host(parser *p, te_url *out) {
  te_slice host;
  if (take_byte(p, '[')) {
    host = take_until(p, "]");
    if (!take_byte(p, ']') || !is_bracketed(host)) {
      return refuse(p, "not an IPv6 address between [ and ]");
    }
  } else {
    host = take_until(p, ":");
    if (host.size == 0) return refuse(p, "no host");
    if (!is_all(host, "-._")) {
      return refuse(p, "a host with a character that no host has "
                       "(in a password write it as %XX)");
    }
  }
  out->host = decode(host);
  return out->host == NULL ? refuse(p, "a broken escape in the host") : 0;
}

static int parse_tcp(parser *p, te_url *out) {
  parser authority = *p;
  authority.rest = take_until(p, "/?#");
  int rc = parse_login(&authority, out);
  if (rc == 0) rc = parse_host(&authority, out);
  if (rc < 0) return rc;

  out->port = PORT_DEFAULT;
  if (take_byte(&authority, ':')) {
    out->port = parse_int(authority.rest, PORT_MAX);
    if (out->port < 1) {
      return refuse(p, "the port is not a number from 1 to 65535");
    }
  } else if (authority.rest.size > 0) {
    return refuse(p, "something other than ':port' after the host");
  }
  if (take_byte(p, '/') && p->rest.size > 0) return parse_db(p, p->rest, out);
  return p->rest.size == 0 ? 0 : refuse(p, "something after the host and port");
}

static int parse_unix(parser *p, te_url *out) {
  // A path may hold '@' and a password '/' only as an escape.
  parser authority = *p;
  authority.rest = take_until(p, "/");
  int rc = parse_login(&authority, out);
  if (rc < 0) return rc;
  te_slice path = take_until(p, "?#");
  if (authority.rest.size > 0 || path.size == 0) {
    return refuse(p, "not the whole path of a socket, "
                     "write redis+unix:///path/to.sock");
  }
  out->path = decode(path);
  if (out->path == NULL) return refuse(p, "a broken escape in the path");
  if (p->rest.size == 0) return 0;
  if (!starts_with(p->rest, "?db=")) {
    return refuse(p, "something other than ?db=N after the path");
  }
  take(p, strlen("?db="));
  return parse_db(p, p->rest, out);
}

static int parse_embedded(parser *p, te_url *out) {
  te_slice name = p->rest;
  if (name.size == 0) name = te_slice_str("default");
  if (name.size > TE_NAME_BYTES_MAX || name.data[0] == '.' ||
      !is_all(name, "_.:-")) {
    return refuse(p, "the name may hold letters, digits and _ . : - "
                     "(at most 128, no dot in front)");
  }
  out->name = te_slice_dup(name);
  return 0;
}

static const scheme schemes[] = {
    {"redis", parse_tcp, TE_SCHEME_REDIS},
    {"redis+unix", parse_unix, TE_SCHEME_UNIX},
    {"embedded", parse_embedded, TE_SCHEME_EMBEDDED},
    {"rediss", NULL, TE_SCHEME_REDIS},
    {"redis+sentinel", NULL, TE_SCHEME_REDIS},
    {"redis+cluster", NULL, TE_SCHEME_REDIS},
};

static const scheme *find_scheme(te_slice name) {
  for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
    const char *known = schemes[i].name;
    if (strlen(known) == name.size &&
        strncasecmp(known, name.data, name.size) == 0) {
      return &schemes[i];
    }
  }
  return NULL;
}

static int parse(parser *p, te_url *out) {
  if (p->rest.size > TE_URL_BYTES_MAX) return refuse(p, "too long");
  for (size_t i = 0; i < p->rest.size; i++) {
    unsigned char c = (unsigned char)p->rest.data[i];
    if (c <= ' ' || c == 0x7f) {
      return refuse(p, "a space or control character, write it as %XX");
    }
  }
  const char *mark = memmem(p->rest.data, p->rest.size, "://", 3);
  const scheme *known = NULL;
  if (mark != NULL) {
    known = find_scheme(take(p, (size_t)(mark - p->rest.data)));
    take(p, strlen("://"));
  }
  if (known == NULL) {
    return refuse(p, "a broker URL begins with redis://, redis+unix:// "
                     "or embedded://");
  }
  if (known->parse == NULL) {
    snprintf(p->why, p->why_size, "%s:// is not built yet", known->name);
    return TE_ENOTBUILT;
  }
  out->scheme = known->id;
  return known->parse(p, out);
}

int te_url_parse(te_slice text, te_url *out, char *why, size_t why_size) {
  // An empty slice may have no address.
  if (text.size == 0) text = te_slice_str("");
  parser p = {text, why, why_size};
  memset(out, 0, sizeof(*out));
  if (why_size > 0) why[0] = '\0';
  int rc = parse(&p, out);
  if (rc < 0) te_url_free(out);
  return rc;
}

static void free_secret(char *text) {
  if (text != NULL) explicit_bzero(text, strlen(text));
  te_free(text);
}

void te_url_free(te_url *url) {
  te_free(url->user);
  free_secret(url->password);
  te_free(url->host);
  te_free(url->path);
  te_free(url->name);
  memset(url, 0, sizeof(*url));
}

static char *copy(const char *text) {
  return text == NULL ? NULL : te_strdup(text);
}

void te_url_copy(te_url *out, const te_url *url) {
  *out = *url;
  out->user = copy(url->user);
  out->password = copy(url->password);
  out->host = copy(url->host);
  out->path = copy(url->path);
  out->name = copy(url->name);
}

static void add_escaped(te_buf *b, const char *text, const char *others) {
  for (; *text != '\0'; text++) {
    if (is_alnum(*text) || strchr(others, *text) != NULL) {
      te_buf_add_u8(b, (uint8_t)*text);
    } else {
      te_buf_addf(b, "%%%02X", (unsigned char)*text);
    }
  }
}

static char *text_of(te_buf *b) {
  char *text = te_slice_dup(te_buf_slice(b));
  te_buf_free(b);
  return text;
}

static void add_host(te_buf *b, const te_url *url) {
  bool is_ipv6 = strchr(url->host, ':') != NULL;
  if (is_ipv6) te_buf_add_u8(b, '[');
  add_escaped(b, url->host, "-._:");
  if (is_ipv6) te_buf_add_u8(b, ']');
  te_buf_addf(b, ":%d", url->port);
}

char *te_url_masked(const te_url *url) {
  te_buf b = {0};
  if (url->scheme == TE_SCHEME_EMBEDDED) return te_url_place(url);
  te_buf_add_str(&b,
                 url->scheme == TE_SCHEME_UNIX ? "redis+unix://" : "redis://");
  if (url->user != NULL) add_escaped(&b, url->user, "-._~");
  if (url->password != NULL) te_buf_add_str(&b, ":***@");
  if (url->scheme == TE_SCHEME_UNIX) {
    add_escaped(&b, url->path, "-._~/");
    if (url->db != 0) te_buf_addf(&b, "?db=%d", url->db);
  } else {
    add_host(&b, url);
    if (url->db != 0) te_buf_addf(&b, "/%d", url->db);
  }
  return text_of(&b);
}

char *te_url_place(const te_url *url) {
  te_buf b = {0};
  switch (url->scheme) {
    case TE_SCHEME_REDIS: add_host(&b, url); break;
    case TE_SCHEME_UNIX: add_escaped(&b, url->path, "-._~/ :@+"); break;
    case TE_SCHEME_EMBEDDED:
      te_buf_add_str(&b, "embedded://");
      te_buf_add_str(&b, url->name);
      break;
  }
  return text_of(&b);
}
