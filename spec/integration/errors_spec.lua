--- What a task raises, as everybody sees it: a program, another task, the
-- command line, the log.

local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")

local TASKS <const> = [[
local te = require("taskengine")
local app = te.app("tasks")
local function deep(value) error(value) end
local raised = {
  text = "out of order",
  none = nil,
  no = false,
  number = 42,
  bare = { 1, 2 },
  kind = { kind = "NoStock", message = "none left", sku = 7 },
  object = setmetatable({ sku = 8 }, { __tostring = function()
    return "an object"
  end }),
  uncarried = { message = "with a function", callback = print },
  userdata = io.stdout,
}
app:task("raise", function(what) deep(raised[what]) end)
app:task("in_coroutine", function()
  coroutine.wrap(function()
    te.sleep(0)
    coroutine.wrap(deep)("out of order")
  end)()
end)
app:task("in_spawned", function() te.spawn(deep, "out of order"):get() end)
app:task("in_callback", function()
  table.sort({ 2, 1 }, function() deep("out of order") end)
end)
app:task("again", function()
  local _, problem = pcall(deep, "out of order")
  error(problem, 0)
end)
app:task("ask", function(id)
  local ok, e = app:result(id):wait(20)
  return { ok, e.id, e.kind, e.message, e.traceback, e.value }
end)
return app
]]

describe("What a task raises", function()
  local server, place, app, worker

  setup(function()
    server = redis_server.start()
    place = program.place { broker = server.url }
    place:write("tasks.lua", TASKS)
    worker = place:worker { "tasks.lua", "-P", "1", "-c", "4" }
    app = te.app("client", { broker = server.url })
  end)

  teardown(function()
    app:close()
    place:close()
    server:stop()
  end)

  local function failure_of(name, ...)
    local r = app:send_task(name, { ... })
    local ok, e = r:wait(20)
    assert.is_false(ok)
    return e, r
  end

  -- A pattern of the message, and the value that comes with it.
  local cases = {
    text = { "Error", "^tasks.lua:3: out of order$" },
    none = { "Error", "^nil was raised, an error without a message$" },
    no = { "Error", "^false$", false },
    number = { "Error", "^42$", 42 },
    bare = { "Error", "^{ 1, 2 }$", { 1, 2 } },
    kind = { "NoStock", "^none left$",
      { kind = "NoStock", message = "none left", sku = 7 } },
    object = { "Error", "^an object$", { sku = 8 } },
    uncarried = { "Error", "^with a function %(what was raised cannot travel:"
      .. " error.value.callback: a function cannot be sent%)$" },
    userdata = { "Error", "^file %(0x%x+%) %(what was raised cannot travel:"
      .. " error.value: [^\n]* cannot be sent%)$" },
  }

  for what, case in pairs(cases) do
    it(("is the same for everybody: %s"):format(what), function()
      local e, r = failure_of("raise", what)
      assert.equal(te.TaskError, getmetatable(e))
      assert.same({ r.id, "raise", case[1] }, { e.id, e.name, e.kind })
      assert.matches(case[2], e.message)
      assert.same(case[3], e.value)
      assert.matches("^stack traceback:\n\ttasks.lua:3: in [^\n]*'deep'"
        .. "\n\ttasks.lua:%d+: in function <tasks.lua:%d+>$", e.traceback)
      assert.equal(("%s: %s (task raise, %s)"):format(e.kind, e.message, r.id),
        tostring(e))

      local _, raised = pcall(r.get, r)
      assert.same({ e.kind, e.message, e.traceback, e.value },
        { raised.kind, raised.message, raised.traceback, raised.value })
      assert.matches("errors_spec.lua:%d+: ", tostring(raised))

      assert.same({ false, r.id, e.kind, e.message, e.traceback, e.value },
        app:send_task("ask", { r.id }):get { timeout = 20 })

      local told = place:run { "result", r.id }
      assert.equal(1, told.code)
      assert.matches(("taskengine: %s: %s (task %s)\n"):format(e.kind,
        e.message, r.id), told.stderr, 1, true)
      assert.matches("stack traceback:\n", told.stderr, 1, true)
      local shown = assert(core.json.decode(
        place:run({ "result", r.id, "--json" }).stdout)).error
      assert.same({ e.kind, e.message, e.traceback, e.value },
        { shown.kind, shown.message, shown.traceback, shown.value })

      worker:heard("stderr", ("raise%%[%s%%] failed in [%%d.]+ ms: %s: ")
        :format(r.id, e.kind))
    end)
  end

  -- Nothing of this layer, nor of what it stands on.
  for name, frames in pairs {
    in_coroutine = { "%d+: in function <tasks.lua:%d+>" },
    in_spawned = { "%d+: in function <tasks.lua:%d+>" },
    in_callback = { "3: in upvalue 'deep'", "%d+: in function <[^\n]+>",
      "[[]C[]]: in f[^\n]+ 'sort'", "%d+: in function <[^\n]+>" },
    again = { "%d+: in function <tasks.lua:%d+>" },
  } do
    it(("shows the user's functions alone: %s"):format(name), function()
      local e = failure_of(name)
      assert.matches("tasks.lua:3: out of order$", e.message)
      local lines = {}
      for line in e.traceback:gmatch("\n\t([^\n]+)") do
        lines[#lines + 1] = line:gsub("^tasks.lua:", "")
      end
      assert.equal(#frames, #lines, e.traceback)
      for i, frame in ipairs(frames) do
        assert.matches("^" .. frame .. "$", lines[i])
      end
    end)
  end
end)
