#include "runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "assets.h"

#define EXIT_INTERNAL 70  // EX_SOFTWARE: a bug of ours, not the user's

int luaopen_taskengine_core(lua_State *L);  // in bind/, which lies above

// In the registry: what our Lua modules have for globals.
static const char OWN_GLOBALS[] = "taskengine.globals";

static int add_traceback(lua_State *L) {
  const char *message = lua_tostring(L, 1);
  if (message == NULL) {
    if (!lua_isnoneornil(L, 1)) return 1;
    message = "nil was raised, an error without a message";
  }
  luaL_traceback(L, L, message, 1);
  return 1;
}

int te_runtime_call(lua_State *L, int nargs, int nresults) {
  int function = lua_gettop(L) - nargs;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, function);
  int status = lua_pcall(L, nargs, nresults, function);
  lua_remove(L, function);
  return status;
}

// Pushes the loader of FOLDER/path; 0 when there is no such file.
static int load_from_folder(lua_State *L, const char *path) {
  const char *folder = getenv("TASKENGINE_LUA_DIR");
  if (folder == NULL || *folder == '\0') return 0;
  const char *file = lua_pushfstring(L, "%s/%s", folder, path);
  FILE *readable = fopen(file, "r");
  if (readable == NULL) return 0;
  fclose(readable);
  if (luaL_loadfile(L, file) != LUA_OK) lua_error(L);
  lua_pushstring(L, file);
  return 2;
}

static int load_from_program(lua_State *L, const char *path) {
  const te_embedded_file *f = te_embedded_file_find(path);
  if (f == NULL) return 0;
  // "=" shows the name as it is in messages and tracebacks.
  const char *chunk = lua_pushfstring(L, "=%s", path);
  if (luaL_loadbufferx(L, f->data, f->size, chunk, "t") != LUA_OK) {
    lua_error(L);
  }
  lua_pushstring(L, chunk + 1);
  return 2;
}

/*
 * An entry of package.searchers: the loader and the path, which `require`
 * hands on; or why the module is not here.
 */
static int search(lua_State *L) {
  static const char *const forms[] = {"%s.lua", "%s/init.lua"};
  const char *name = luaL_checkstring(L, 1);
  if (strcmp(name, "taskengine") != 0 &&
      strncmp(name, "taskengine.", strlen("taskengine.")) != 0) {
    return 0;
  }
  const char *stem = luaL_gsub(L, name, ".", "/");
  for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
    const char *path = lua_pushfstring(L, forms[i], stem);
    int pushed = load_from_folder(L, path);
    if (pushed == 0) pushed = load_from_program(L, path);
    if (pushed > 0) {
      lua_getfield(L, LUA_REGISTRYINDEX, OWN_GLOBALS);
      lua_setupvalue(L, -1 - pushed, 1);  // _ENV of the chunk
      return pushed;
    }
  }
  lua_pushfstring(L, "no module '%s' in the program", name);
  return 1;
}

// Ours goes right behind package.preload: what is installed comes later.
static void add_searcher(lua_State *L) {
  lua_getglobal(L, LUA_LOADLIBNAME);
  lua_getfield(L, -1, "searchers");
  for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) {
    lua_geti(L, -1, i);
    lua_seti(L, -2, i + 1);
  }
  lua_pushcfunction(L, search);
  lua_seti(L, -2, 2);
  lua_pop(L, 2);
}

static void copy_table(lua_State *L, int from) {
  lua_newtable(L);
  lua_pushnil(L);
  while (lua_next(L, from) != 0) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
}

/*
 * A task that sets `type` or `table`, for want of a `local`, must break nothing
 * but itself: our modules have globals of their own. What all share goes by
 * its name in there: _G, package.
 */
static void make_own_globals(lua_State *L) {
  static const char *const libraries[] = {
      LUA_COLIBNAME,  LUA_TABLIBNAME,  LUA_IOLIBNAME,   LUA_OSLIBNAME,
      LUA_STRLIBNAME, LUA_UTF8LIBNAME, LUA_MATHLIBNAME, LUA_DBLIBNAME,
  };
  lua_pushglobaltable(L);
  copy_table(L, lua_gettop(L));
  for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
    lua_getfield(L, -1, libraries[i]);
    copy_table(L, lua_gettop(L));
    lua_setfield(L, -3, libraries[i]);
    lua_pop(L, 1);
  }
  lua_setfield(L, LUA_REGISTRYINDEX, OWN_GLOBALS);
  lua_pop(L, 1);
}

static int open_libraries(lua_State *L) {
  luaL_openlibs(L);
  make_own_globals(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_taskengine_core);
  lua_setfield(L, -2, "taskengine.core");
  add_searcher(L);
  return 0;
}

lua_State *te_runtime_new(void) {
  lua_State *L = luaL_newstate();
  if (L != NULL) {
    lua_pushcfunction(L, open_libraries);
    if (te_runtime_call(L, 0, 0) == LUA_OK) return L;
  }
  // Nothing else can go wrong while a fresh state is filled.
  fputs("taskengine: out of memory for a Lua state\n", stderr);
  abort();
}

void te_runtime_free(lua_State *L) {
  lua_close(L);
}

/*
 * Whoever may list processes sees their arguments: the password of a URL is
 * overwritten where the system reads it.
 */
static void hide_passwords(int argc, char **argv) {
  for (int i = 0; i < argc; i++) {
    char *url = strstr(argv[i], "://");
    char *end = url == NULL ? NULL : strrchr(url, '@');
    char *colon = end == NULL ? NULL : strchr(url + strlen("://"), ':');
    if (colon == NULL || colon > end) continue;
    memset(colon + 1, '*', (size_t)(end - colon) - 1);
  }
}

// (argc, argv as light userdata) -> what taskengine.cli's main returns
static int run_command_line(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_seti(L, -2, i);
  }
  hide_passwords(argc, argv);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "taskengine.cli");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "main");
  lua_pushvalue(L, 3);
  lua_call(L, 1, 1);
  if (!lua_isinteger(L, -1)) luaL_error(L, "main returned no exit code");
  return 1;
}

static int write_error(lua_State *L) {
  fprintf(stderr, "taskengine: %s\n", luaL_tolstring(L, 1, NULL));
  return 0;
}

int te_runtime_main(lua_State *L, int argc, char **argv) {
  lua_pushcfunction(L, run_command_line);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  int code = EXIT_INTERNAL;
  if (te_runtime_call(L, 2, 1) == LUA_OK) {
    code = (int)lua_tointeger(L, -1);
  } else {
    lua_pushcfunction(L, write_error);
    lua_insert(L, -2);
    // A __tostring that fails in its turn has nobody left to tell.
    lua_pcall(L, 1, 1, 0);
  }
  lua_pop(L, 1);
  return code;
}
