rockspec_format = "3.0"
package = "taskengine"
version = "scm-1"
source = {
  url = ".", -- for `luarocks make` in a checkout
}
description = {
  summary = "A distributed task engine scripted in Lua",
  detailed = [[
Tasks are Lua functions in a file; workers on any number of machines run
them, and Redis holds what waits. The core is C on libuv.]],
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = {
  "lua ~> 5.4",
}
external_dependencies = {
  LIBUV = { header = "uv.h" },
  HIREDIS = { header = "hiredis/hiredis.h" },
  JANSSON = { header = "jansson.h" },
}
build = {
  type = "make",
  build_target = "all",
  build_variables = {
    LUA = "$(LUA)",
    CFLAGS = "$(CFLAGS)",
  },
  install_variables = {
    PREFIX = "$(PREFIX)",
    BINDIR = "$(BINDIR)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
  },
}
