/*
 * bind: what all bindings share, and the one list of their openers, for the
 * program and for the module taskengine.core alike.
 */
#ifndef TE_BIND_H
#define TE_BIND_H

#include <lauxlib.h>
#include <lua.h>
#include <uv.h>

#include "te.h"

// Opens `taskengine.core`: a table with one sub-table for each binding.
__attribute__((visibility("default"))) int
luaopen_taskengine_core(lua_State *L);

// Pushes nil, "NAME: text", "NAME" and returns 3.
int te_bind_fail(lua_State *L, int code);
// The same with a sentence of the module's own behind the name.
int te_bind_fail_why(lua_State *L, int code, const char *why);

te_slice te_bind_check_slice(lua_State *L, int arg);
int te_bind_check_signal(lua_State *L, int arg);  // a number, "TERM", "SIGTERM"

/*
 * Registers a handle type: methods under __index, `meta` beside it (with
 * __gc and __close, unless nothing can be collected before it has ended).
 */
void te_bind_class(lua_State *L, const char *name, const luaL_Reg *methods,
                   const luaL_Reg *meta);

// The loop that this Lua state runs on; made on first use, closed with it.
uv_loop_t *te_bind_loop(lua_State *L);
lua_State *te_bind_main(lua_State *L);  // the main thread of L's state

/*
 * Calls the function below nargs arguments on the main state, protected,
 * with traceback; for use in loop callbacks. A Lua error there is handed to
 * the handler set by core.loop.on_error, or written to stderr. Never
 * longjmps. Leaves nothing on the stack. While the state is being closed it
 * calls nothing: handles may end then, but no Lua code hears of it.
 */
void te_bind_call(lua_State *L, int nargs);

/*
 * Calls fn with `arg` as a light userdata, in the way of te_bind_call. What
 * is pushed for a Lua function needs memory, so it is pushed in there.
 */
void te_bind_run(lua_State *L, lua_CFunction fn, void *arg);

/*
 * Runs the loop of L, and says whether it is still alive. UV_RUN_ONCE never
 * waits once a te_bind_call was made: libuv alone would go on to wait for
 * the sockets after a timer has gone off. Raises inside a te_bind_call.
 */
bool te_bind_run_loop(lua_State *L, uv_run_mode mode);

// Hands later errors to the function at `arg`, or to stderr when it is nil.
void te_bind_set_on_error(lua_State *L, int arg);

// The openers: each pushes its table.
int te_bind_open_log(lua_State *L);
int te_bind_open_loop(lua_State *L);
int te_bind_open_codec(lua_State *L);
int te_bind_open_json(lua_State *L);
int te_bind_open_url(lua_State *L);
int te_bind_open_redis(lua_State *L);
int te_bind_open_embedded(lua_State *L);
int te_bind_open_envelope(lua_State *L);
int te_bind_open_sys(lua_State *L);
int te_bind_open_process(lua_State *L);  // pushes sys.spawn
int te_bind_open_signal(lua_State *L);   // pushes loop.signal
int te_bind_open_child(lua_State *L);
int te_bind_open_guard(lua_State *L);
int te_bind_open_worker(lua_State *L);
#ifdef TE_TESTING
int te_bind_open_testing(lua_State *L);
int te_bind_open_testing_awaited(lua_State *L);
int te_bind_open_testing_buf(lua_State *L);
int te_bind_open_testing_claims(lua_State *L);
int te_bind_open_testing_codec(lua_State *L);
int te_bind_open_testing_dispatch(lua_State *L);
int te_bind_open_testing_frame(lua_State *L);
int te_bind_open_testing_hand(lua_State *L);
int te_bind_open_testing_handed(lua_State *L);
int te_bind_open_testing_heap(lua_State *L);
int te_bind_open_testing_held(lua_State *L);
int te_bind_open_testing_id(lua_State *L);
int te_bind_open_testing_list(lua_State *L);
int te_bind_open_testing_log(lua_State *L);
int te_bind_open_testing_map(lua_State *L);
int te_bind_open_testing_news(lua_State *L);
int te_bind_open_testing_peer(lua_State *L);
int te_bind_open_testing_redis(lua_State *L);
int te_bind_open_testing_report(lua_State *L);
int te_bind_open_testing_request(lua_State *L);
int te_bind_open_testing_roster(lua_State *L);
int te_bind_open_testing_scribe(lua_State *L);
int te_bind_open_testing_spin(lua_State *L);
int te_bind_open_testing_wear(lua_State *L);
int te_bind_open_testing_wire(lua_State *L);
#endif

#endif
