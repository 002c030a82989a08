/***
A server of the spec's own: it listens on a Unix socket and says to its
clients what the spec tells it to, whole, in pieces, or nothing.
@module taskengine.core.testing.peer
*/
#include "bind/bind.h"
#include "buf.h"

#define LISTEN_CLASS "taskengine.testing.peer"
#define CLIENT_CLASS "taskengine.testing.client"
#define READ_BYTES   65536

// User values: of a server, and of each of its clients.
enum { VALUE_ON_CLIENT = 1 };
enum { VALUE_ON_DATA = 1 };

// A pipe that libuv holds; its userdata is anchored until it has closed.
typedef struct endpoint {
  uv_pipe_t pipe;
  lua_State *L;  // main
  int anchor;
} endpoint;

static endpoint *new_endpoint(lua_State *L, const char *class_name) {
  uv_loop_t *loop = te_bind_loop(L);
  endpoint **slot = lua_newuserdatauv(L, sizeof(endpoint *), 1);
  *slot = NULL;
  luaL_setmetatable(L, class_name);
  lua_pushvalue(L, -1);
  int anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  endpoint *e = te_alloc_zero(1, sizeof(*e));
  uv_pipe_init(loop, &e->pipe, 0);
  e->pipe.data = e;
  e->L = te_bind_main(L);
  e->anchor = anchor;
  *slot = e;
  return e;
}

static void on_closed(uv_handle_t *handle) {
  endpoint *e = handle->data;
  luaL_unref(e->L, LUA_REGISTRYINDEX, e->anchor);
  te_free(e);
}

/***
Stops listening. Its clients stay.
@function peer:close
*/
/***
Ends the connection.
@function client:close
*/
static int endpoint_close(lua_State *L) {
  endpoint **slot = lua_touserdata(L, 1);
  if (*slot != NULL) uv_close((uv_handle_t *)&(*slot)->pipe, on_closed);
  *slot = NULL;
  return 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
  (void)handle;
  (void)suggested;
  *out = uv_buf_init(te_alloc(READ_BYTES), READ_BYTES);
}

// What a client sent: pushed where memory may be missing.
typedef struct arrival {
  endpoint *e;
  te_slice bytes;  // empty: it has gone
} arrival;

static int run_arrival(lua_State *L) {
  const arrival *a = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, a->e->anchor);
  if (lua_getiuservalue(L, -1, VALUE_ON_DATA) == LUA_TNIL) return 0;
  lua_insert(L, -2);
  if (a->bytes.size == 0) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, a->bytes.data, a->bytes.size);
  }
  lua_call(L, 2, 0);
  return 0;
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf) {
  arrival a = {stream->data, te_slice_of(buf->base, size > 0 ? size : 0)};
  if (size < 0) uv_read_stop(stream);
  if (size != 0) te_bind_run(a.e->L, run_arrival, &a);
  te_free(buf->base);
}

// (server as light userdata)
static int run_accept(lua_State *L) {
  endpoint *server = lua_touserdata(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, server->anchor);
  lua_getiuservalue(L, -1, VALUE_ON_CLIENT);
  endpoint *client = new_endpoint(L, CLIENT_CLASS);
  uv_accept((uv_stream_t *)&server->pipe, (uv_stream_t *)&client->pipe);
  uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read);
  lua_call(L, 1, 0);
  return 0;
}

static void on_connection(uv_stream_t *stream, int status) {
  endpoint *server = stream->data;
  if (status < 0) return;
  te_bind_run(server->L, run_accept, server);
}

/***
Listens.
@function listen
@tparam string path of the socket
@tparam function on_client called with each client that connects
@treturn[1] peer
@return[2] nil
@treturn[2] string message
@treturn[2] string name of the error
*/
static int peer_listen(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  endpoint *e = new_endpoint(L, LISTEN_CLASS);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, VALUE_ON_CLIENT);
  int rc = uv_pipe_bind(&e->pipe, path);
  if (rc == 0) rc = uv_listen((uv_stream_t *)&e->pipe, 16, on_connection);
  return rc < 0 ? te_bind_fail(L, rc) : 1;
}

static endpoint *check_client(lua_State *L) {
  endpoint **slot = luaL_checkudata(L, 1, CLIENT_CLASS);
  luaL_argcheck(L, *slot != NULL, 1, "closed");
  return *slot;
}

/***
Sets who hears what the client sends.
@function client:on_data
@tparam function fn called with the client and the bytes, nil when it has gone
*/
static int client_on_data(lua_State *L) {
  check_client(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, VALUE_ON_DATA);
  return 0;
}

/***
Sends bytes, in one system call.
@function client:send
@tparam string bytes
@treturn int how many the socket took
*/
static int client_send(lua_State *L) {
  endpoint *e = check_client(L);
  size_t size;
  luaL_checklstring(L, 2, &size);
  te_buf copy = {0};
  te_buf_add(&copy, lua_tostring(L, 2), size);
  uv_buf_t bytes = {.base = copy.data, .len = size};
  int rc = size == 0 ? 0 : uv_try_write((uv_stream_t *)&e->pipe, &bytes, 1);
  te_buf_free(&copy);
  lua_pushinteger(L, rc < 0 ? 0 : rc);
  return 1;
}

static const luaL_Reg server_methods[] = {
    {"close", endpoint_close},
    {NULL, NULL},
};

static const luaL_Reg client_methods[] = {
    {"close", endpoint_close},
    {"on_data", client_on_data},
    {"send", client_send},
    {NULL, NULL},
};

static const luaL_Reg meta[] = {
    {"__gc", endpoint_close},
    {"__close", endpoint_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"listen", peer_listen},
    {NULL, NULL},
};

int te_bind_open_testing_peer(lua_State *L) {
  te_bind_class(L, LISTEN_CLASS, server_methods, meta);
  te_bind_class(L, CLIENT_CLASS, client_methods, meta);
  luaL_newlib(L, functions);
  return 1;
}
