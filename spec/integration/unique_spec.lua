--- Unique tasks in a real worker.

local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local TASKS <const> = [[
local te = require("taskengine")
local core = require("taskengine.core")
local app = te.app("tasks")

-- Until a file appears; says that it runs.
local function gate(name)
  assert(io.open(name .. ".begun", "w")):close()
  while not core.sys.stat(name) do te.sleep(0.002) end
  if name == "fails" then error("it fails") end
  if name == "dies" then os.exit(1) end
  return name
end

app:task("gate", { unique = true }, gate)
app:task("next", { unique = { release = "started" } }, gate)
app:task("of_month", { unique = { key = function(month) return month end } },
  gate)

app:task("send_twice", function(name)
  local one = app:send_task("gate", { name })
  local two = app:send_task("gate", { name })
  local many = app:enqueue_many("gate", { { name }, { name } })
  return { one.id, two.id, many[1].id, many[2].id }
end)
]]

describe("a unique task in a worker", function()
  local server, place, app

  setup(function()
    server = redis_server.start()
    place = program.place { broker = server.url }
    place:write("tasks.lua", TASKS)
    place:worker { "tasks.lua", "-P", "2", "-c", "4" }
    app = te.app("spec", { broker = server.url })
  end)

  teardown(function()
    app:close()
    place:close()
    server:stop()
  end)

  local function send(name, word, unique)
    return app:send_task(name, { word },
      { unique = unique == nil and true or unique })
  end

  local function open(word)
    place:write(word, "")
  end

  local function wait_begun(word)
    wait_until(function()
      return core.sys.stat(("%s/%s.begun"):format(place.dir, word))
    end)
  end

  local function assert_free()
    assert.equal("0", server:cli("EXISTS", "te:{default.0}:l",
      "te:{default.0}:lo"))
  end

  it("is there once until it has succeeded", function()
    local first = send("gate", "succeeds")
    assert.equal(first.id, send("gate", "succeeds").id)
    wait_begun("succeeds")
    local second = send("gate", "succeeds")
    assert.equal(first.id, second.id)
    open("succeeds")
    assert.equal("succeeds", second:get { timeout = 30 })
    assert_free()
    local third = send("gate", "succeeds")
    assert.not_equal(first.id, third.id)
    assert.equal("succeeds", third:get { timeout = 30 })
  end)

  for _, word in ipairs { "fails", "dies" } do
    it("is there once until it " .. word .. " for good", function()
      local first = send("gate", word)
      wait_begun(word)
      assert.equal(first.id, send("gate", word).id)
      open(word)
      assert.is_false((first:wait(30)))
      assert_free()
    end)
  end

  it("may be followed by another from when it runs", function()
    local first = send("next", "follows", { release = "started" })
    wait_begun("follows")
    local second = send("next", "follows", { release = "started" })
    assert.not_equal(first.id, second.id)
    open("follows")
    assert.same({ "follows", "follows" },
      { first:get { timeout = 30 }, second:get { timeout = 30 } })
    assert_free()
  end)

  it("is there once for a task that sends it by its name", function()
    local ids = app:send_task("send_twice", { "inside" }):get { timeout = 30 }
    assert.same({ ids[1], ids[1], ids[1], ids[1] }, ids)
    open("inside")
    assert.equal("inside", app:result(ids[1]):get { timeout = 30 })
    assert_free()
  end)

  describe("by `taskengine call`", function()
    local function call(...)
      local ended = place:run { "call", ... }
      assert.same({ 0, "" }, { ended.code, ended.stderr })
      return ended.stdout:match("^(%S+)\n$")
    end

    it("is there once, as the worker says of it", function()
      local first = call("gate", '["called"]')
      assert.equal(first, call("gate", '["called"]'))
      assert.equal(first, send("gate", "called").id)
      assert.not_equal(first, call("gate", '["called"]', "--id", "mine"))
      open("called")
      assert.equal("called", app:result(first):get { timeout = 30 })
      assert.equal("called", app:result("mine"):get { timeout = 30 })
      assert_free()
    end)

    it("is any task where only its program knows the key", function()
      open("2026-11")
      assert.not_equal(call("of_month", '["2026-11"]'),
        call("of_month", '["2026-11"]'))
    end)
  end)

  it("is there once whatever the serializer", function()
    local other = te.app("json", { broker = server.url, serializer = "json" })
    local first = send("gate", "json")
    assert.equal(first.id, other:send_task("gate", { "json" },
      { unique = true }).id)
    other:close()
    open("json")
    assert.equal("json", first:get { timeout = 30 })
    assert_free()
  end)
end)
