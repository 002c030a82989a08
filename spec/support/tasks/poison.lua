--- Tasks that do all they can against the process that runs them, and good
-- ones among them.

local core = require("taskengine.core")
local te = require("taskengine")

-- Globals of this file alone: a vandal is among its tasks.
local shared = _G
local _ENV <const> = {} -- luacheck: ignore 241
for name, value in shared.pairs(shared) do
  _ENV[name] = value
end

local app = te.app("poison")

local function native(name)
  return function(path)
    assert(package.loadlib(path, name))()
  end
end

local function loop()
  while true do -- luacheck: ignore 542
  end
end

local function nested(depth)
  local value = {}
  for _ = 1, depth do
    value = { value }
  end
  return value
end

local function recurse(n)
  return 1 + recurse(n + 1)
end

local function recurse_in_gsub(text)
  return text:gsub(".", recurse_in_gsub)
end

local function object_with(tostring_fn)
  return setmetatable({}, { __tostring = tostring_fn })
end

local poisons = {
  segfault = native("poison_segfault"),
  abort = native("poison_abort"),
  bus = native("poison_bus"),
  ill = native("poison_ill"),
  fpe = native("poison_fpe"),
  exit_native = native("poison_exit"),
  stop = native("poison_stop"),
  block = native("poison_block"),
  close_all = native("poison_close_all"),

  exit_0 = function()
    os.exit(0)
  end,
  exit_7 = function()
    os.exit(7)
  end,

  busy_loop = loop,
  soft_busy_loop = loop,
  pcall_loop = function()
    while true do
      pcall(loop)
    end
  end,
  pattern = function()
    return (("a"):rep(40)):find(("a?"):rep(40) .. ("a"):rep(40) .. "b")
  end,
  sethook = function()
    while true do
      debug.sethook()
    end
  end,
  gc_loop = function()
    setmetatable({}, { __gc = loop })
    collectgarbage()
  end,
  coroutine_loop = function()
    coroutine.wrap(function()
      while true do
        pcall(coroutine.wrap(loop))
      end
    end)()
  end,
  close_loop = function()
    local _ <close> = setmetatable({}, { __close = loop })
    error("on the way out")
  end,

  recursion = function()
    return recurse(0)
  end,
  c_recursion = function()
    return recurse_in_gsub("x")
  end,
  metamethods = function()
    local proxy = setmetatable({}, {})
    getmetatable(proxy).__index = function(_, key)
      return proxy[key .. "x"]
    end
    return proxy.x
  end,
  table_bomb = function()
    local all = {}
    for i = 1, math.huge do
      table.insert(all, { i })
    end
  end,
  string_bomb = function()
    return #("x"):rep(1 << 30)
  end,

  raise_nil = function()
    error(nil)
  end,
  raise_false = function()
    error(false)
  end,
  raise_table = function()
    error({})
  end,
  raise_userdata = function()
    error(io.stdout)
  end,
  raise_throwing = function()
    error(object_with(error))
  end,
  raise_looping = function()
    error(object_with(loop))
  end,
  raise_large = function()
    error(("x"):rep(8 << 20))
  end,
  raise_deep = function()
    error(nested(100000))
  end,

  return_cycle = function()
    local value = {}
    value.self = value
    return value
  end,
  return_function = function()
    return { print }
  end,
  return_thread = function()
    return coroutine.create(loop)
  end,
  return_userdata = function()
    return { file = io.stdout }
  end,
  return_large = function()
    return ("x"):rep((16 << 20) + 1)
  end,
  return_deep = function()
    return nested(100000)
  end,
  return_trap = function()
    return setmetatable({}, { __index = loop, __pairs = loop, __len = loop })
  end,

  print_much = function(_, bytes)
    local line = ("x"):rep(65535)
    for _ = 1, bytes // 65536 do
      print(line)
    end
  end,

  -- What it breaks is its own, and every other file's that has nothing of
  -- its own; but not this layer's, and strings are mended.
  vandal = function()
    for name in pairs(shared) do
      shared[name] = nil
    end
    for name in pairs(package.loaded) do
      package.loaded[name] = nil
    end
    getmetatable("").__index = {}
    debug.sethook(function() end, "l")
  end,
}

app:task("poison", function(kind, path, bytes)
  return poisons[kind](path, bytes)
end)

-- The same, with a line for each time that it begins: when that was.
app:task("timed_poison", function(kind, path, notes)
  local file <close> = assert(io.open(notes, "a"))
  file:write(core.sys.monotonic(), "\n")
  file:close()
  return poisons[kind](path)
end)

app:task("good", function(x, y)
  return x + y
end)

return app
