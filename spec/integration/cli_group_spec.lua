--- What commands print of the results of a group.

local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")

local TASKS <const> = [[
local te = require("taskengine")
local app = te.app("tasks")
local echo = app:task("echo", function(...) return ... end)
app:task("spread", { bind = true }, function(self, list)
  for i, value in ipairs(list) do
    list[i] = echo:s(value)
  end
  self:replace(te.group(list))
end)
]]

describe("The command line shows the results of a group", function()
  local server, place, app

  setup(function()
    server = redis_server.start()
    place = program.place { broker = server.url }
    place:write("tasks.lua", TASKS)
    place:worker { "tasks.lua", "-P", "1", "-c", "10" }
    app = te.app("spec", { broker = server.url })
  end)

  teardown(function()
    app:close()
    place:close()
    server:stop()
  end)

  local function echo(...)
    return app:signature("echo", table.pack(...))
  end

  local function printed(...)
    local ended = place:run { ... }
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    return ended.stdout
  end

  -- What is printed of a node that gathers, which is the same in both ways.
  local function list_of(id)
    local list = printed("result", id, "--wait", "--timeout", "60")
    local all = core.json.decode(printed("result", id, "--json"))
    assert.equal(list, core.json.encode(all.value) .. "\n")
    return list
  end

  it("as a list in order", function()
    local list, expected = {}, {}
    for i = 1, 300 do
      list[i], expected[i] = echo(i), i
    end
    local id = te.group(list)().id
    assert.equal("[" .. table.concat(expected, ",") .. "]\n", list_of(id))
  end)

  it("as a list in which nil has its place", function()
    local id = te.group { echo(), echo(false), echo(), echo("x"), echo() }().id
    assert.equal('[null,false,null,"x",null]\n', list_of(id))
    id = te.group { echo(), echo() }().id
    assert.equal("[null,null]\n", list_of(id))
  end)

  it("as a list in a list", function()
    local inner = te.chain(echo(), te.group { echo(), echo() })
    local id = te.group { inner, echo(3) }().id
    assert.equal("[[null,null],3]\n", list_of(id))
  end)

  it("as a list when there is nothing in it", function()
    local flow = te.flow {
      nodes = { none = { te.group {} }, one = { echo(1) } },
    }
    assert.equal("[]\n", list_of(flow():node("none").id))
  end)

  it("as a list when it stands for a task", function()
    assert.equal("[1,2]\n", printed("call", "spread", "[[1, 2]]", "--wait"))
    assert.matches('"value":[1,2]', printed("call", "spread", "[[1, 2]]",
      "--wait", "--json"), 1, true)
  end)

  it("by the names that they have", function()
    local flow = te.flow { nodes = { a = { echo(1) }, b = { echo() } } }
    assert.equal('[{"a":1}]\n', list_of(te.group { flow }().id))
  end)
end)
