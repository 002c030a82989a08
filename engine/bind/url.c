/***
Broker URLs.

    redis://[[user]:password@]host[:port][/db]
    redis+unix://[[user]:password@]/path/to.sock[?db=N]
    embedded://[name]

Failures name the mistake and quote nothing of the URL: it may hold a
password.
@module taskengine.core.url
*/
#include "url.h"

#include <stdio.h>

#include "bind/bind.h"

#define CLASS        "taskengine.url"
#define WHY_BYTES    256
#define MASKED_BYTES (3 * TE_URL_BYTES_MAX + 64)  // every byte an escape

/*
 * A parsed URL in the hands of the collector, so that a memory error while it
 * is turned into Lua values leaks nothing. Pushes it; NULL with nil, message
 * and name pushed when the URL at `arg` is none.
 */
static te_url *push_parsed(lua_State *L, int arg) {
  char why[WHY_BYTES];
  te_slice text = te_bind_check_slice(L, arg);
  te_url *url = lua_newuserdatauv(L, sizeof(*url), 0);
  *url = (te_url){0};
  luaL_setmetatable(L, CLASS);
  int rc = te_url_parse(text, url, why, sizeof(why));
  if (rc == 0) return url;
  te_bind_fail_why(L, rc, why);
  return NULL;
}

static int url_gc(lua_State *L) {
  te_url_free(lua_touserdata(L, 1));
  return 0;
}

static void set_string(lua_State *L, const char *key, const char *value) {
  if (value == NULL) return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, key);
}

static void set_integer(lua_State *L, const char *key, int value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, key);
}

/***
Takes a URL apart.
@function parse
@tparam string text
@treturn[1] table `scheme` ("redis", "redis+unix", "embedded"), `user` and
`password` when given, `db`, and what the scheme has: `host` and `port`,
`path`, or `name`
@return[2] nil
@treturn[2] string message
@treturn[2] string `"EBADURL"`, or `"ENOTBUILT"` for a scheme that is known
but cannot be used yet
*/
static int url_parse(lua_State *L) {
  static const char *const schemes[] = {
      [TE_SCHEME_REDIS] = "redis",
      [TE_SCHEME_UNIX] = "redis+unix",
      [TE_SCHEME_EMBEDDED] = "embedded",
  };
  const te_url *url = push_parsed(L, 1);
  if (url == NULL) return 3;
  lua_newtable(L);
  set_string(L, "scheme", schemes[url->scheme]);
  set_string(L, "user", url->user);
  set_string(L, "password", url->password);
  set_string(L, "host", url->host);
  set_string(L, "path", url->path);
  set_string(L, "name", url->name);
  set_integer(L, "db", url->db);
  if (url->scheme == TE_SCHEME_REDIS) set_integer(L, "port", url->port);
  return 1;
}

/***
A URL for people: with `***` for its password.
@function masked
@tparam string text
@treturn[1] string
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error, as for @{parse}
*/
static int url_masked(lua_State *L) {
  char text[MASKED_BYTES];
  const te_url *url = push_parsed(L, 1);
  if (url == NULL) return 3;
  char *masked = te_url_masked(url);
  snprintf(text, sizeof(text), "%s", masked);
  te_free(masked);
  lua_pushstring(L, text);
  return 1;
}

static const luaL_Reg meta[] = {
    {"__gc", url_gc},
    {"__close", url_gc},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"parse", url_parse},
    {"masked", url_masked},
    {NULL, NULL},
};

int te_bind_open_url(lua_State *L) {
  static const luaL_Reg methods[] = {{NULL, NULL}};
  te_bind_class(L, CLASS, methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
