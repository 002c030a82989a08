--- Values come through a real worker as they were sent: as an argument, as a
-- task sees them, and as its result.

local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local seed = require("spec.support.seed")
local te = require("taskengine")
local values = require("spec.support.values")

local null = core.codec.null
local text = values.text

local TASKS <const> = [[
local te = require("taskengine")
local values = require("spec.support.values")
local app = te.app("tasks")

-- What it is given, as it sees it and as it is.
app:task("see", function(value)
  return { values.text(value), value }
end)

app:task("give_back", function(value)
  return value
end)

local list = app:task("list", function(...)
  local texts = { n = select("#", ...) }
  for i = 1, texts.n do
    texts[i] = values.text((select(i, ...)))
  end
  return texts
end)

-- The same from inside of a task: what comes back there, and is seen elsewhere
-- of what comes from there.
app:task("hand_on", function(value)
  local given = app:send_task("give_back", { value }):get()
  return { values.text(given), list:delay(given):get()[1] }
end)

app:task("hand_on_list", function(...)
  return list:delay(...):get()
end)

return app
]]

local function nested(depth)
  local value = {}
  for _ = 2, depth do
    value = { value }
  end
  return value
end

local VALUES <const> = {
  ["2^63-1"] = math.maxinteger,
  ["-2^63"] = math.mininteger,
  ["2^53+1"] = 2 ^ 53 // 1 | 1,
  ["1"] = 1,
  ["1.0"] = 1.0,
  ["0.0"] = 0.0,
  ["-0.0"] = -0.0,
  ["inf"] = math.huge,
  ["-inf"] = -math.huge,
  ["nan"] = 0 / 0,
  ["-nan"] = -(0 / 0),
  ["the smallest float"] = 5e-324,
  ["the largest float"] = 1.7976931348623157e308,
  ["a zero byte and one that is no text"] = "\0\xff",
  ["the empty string"] = "",
  ["text"] = "h\u{e9}\u{1f600}",
  ["64 KiB"] = ("\xfe"):rep(65536),
  ["true"] = true,
  ["false"] = false,
  ["the empty table"] = {},
  ["te.null in tables"] = { null, { x = null }, 3, null },
  ["100 tables in one another"] = nested(100),
  ["a mixed table"] = { "one", "two", x = 1, [true] = false, [0.5] = {} },
  ["a sparse table"] = { [1] = "a", [3] = "c", [1000000] = "z", [-1] = 0 },
  ["a list with a hole"] = { 1, nil, 3 },
  ["keys that are the same as text"] = { [1] = "integer", ["1"] = "string" },
  ["keys at both ends"] = { [math.maxinteger] = 1, [math.mininteger] = 2,
    [math.huge] = 3, [-math.huge] = 4, ["\0\xff"] = 5, [""] = 6 },
}

local ARGUMENTS <const> = {
  ["none"] = { n = 0 },
  ["a nil"] = { n = 1 },
  ["nil in the middle"] = { n = 3, 1, nil, 3 },
  ["nil at the end"] = { n = 3, 1, nil, nil },
  ["nil at the start"] = { n = 2, nil, {} },
  ["false among nil"] = { n = 5, nil, false, nil, 0, nil },
}

describe("through a worker", function()
  local server, place, running, app

  setup(function()
    server = redis_server.start { tcp = true }
    place = program.place { broker = server.url }
    place:write("tasks.lua", TASKS)
    running = place:worker { "tasks.lua", "-P", "2" }
    app = te.app("spec", { broker = server.url })
  end)

  teardown(function()
    app:close()
    running:kill("TERM")
    running:wait()
    place:close()
    server:stop()
  end)

  local function ask(task, ...)
    return app:send_task(task, table.pack(...)):get { timeout = 20 }
  end

  for name, value in pairs(VALUES) do
    it(name .. " comes back as it is", function()
      local expected = text(value)
      assert.equal(expected, text(ask("give_back", value)))
      assert.same({ n = 1, expected }, ask("list", value))
      assert.same({ expected, expected }, ask("hand_on", value))
    end)
  end

  for name, args in pairs(ARGUMENTS) do
    it("arguments keep their places: " .. name, function()
      local expected = { n = args.n }
      for i = 1, args.n do
        expected[i] = text(args[i])
      end
      assert.same(expected, ask("list", table.unpack(args, 1, args.n)))
      assert.same(expected, ask("hand_on_list", table.unpack(args, 1, args.n)))
    end)
  end

  it("te.null as an argument or a result is nil", function()
    assert.same({ n = 2, "nil", "1" }, ask("list", null, 1))
    assert.is_nil(ask("give_back", null))
    assert.is_nil(ask("give_back", nil))
  end)

  local BATCH <const> = 1000

  -- Sends `count` values that `make` makes, and looks at each that comes back.
  local function check_random(count, sender, make)
    seed.begin()
    for batch = 1, count // BATCH do
      local sent, list = {}, {}
      for i = 1, BATCH do
        sent[i] = make()
        list[i] = { sent[i] }
      end
      local got = sender:enqueue_many("see", list)
      for i = 1, BATCH do
        local seen = got[i]:get { timeout = 60 }
        local expected = sent[i] == null and "nil" or text(sent[i])
        local where = ("value %d of batch %d"):format(i, batch)
        assert.equal(expected, seen[1], where)
        local back = seen[2]
        assert.equal(expected, back == null and "nil" or text(back), where)
      end
    end
  end

  it("10,000 random values come back as they are", function()
    check_random(10000, app, function()
      return values.random(6, null)
    end)
  end)

  it("2,000 random values come back as they are by way of JSON", function()
    local sender = te.app("json", { broker = server.url, serializer = "json" })
    check_random(2000, sender, function()
      return values.random_json(4, null)
    end)
    sender:close()
  end)
end)
