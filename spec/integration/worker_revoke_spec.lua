--- A worker that hears of a revocation at moments that no real Redis shows on
-- demand.

local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local library = require("taskengine.library")
local program = require("spec.support.program")
local scripted_redis = require("spec.support.scripted_redis")
local wait_until = require("spec.support.wait").wait_until

local bulk = scripted_redis.bulk

describe("A worker that is told to end a task", function()
  local id <const> = envelope.id("Producer0001", 1)
  local place, server, calls, bell, fetch

  local function list(...)
    return ("*%d\r\n"):format(select("#", ...)) .. table.concat({ ... })
  end

  local REPORT <const> = list(":1\r\n", ":0\r\n", ":0\r\n", ":0\r\n", bulk(""),
    ":0\r\n")
  local ANSWERS <const> = {
    te1_build = (":%d\r\n"):format(library.BUILD),
    te1_register = REPORT,
    te1_describe = REPORT,
    te1_heartbeat = REPORT,
    te1_holds = list(bulk("0")),
    te1_finish = list(":1\r\n"),
    te1_leave = ":1\r\n",
  }

  -- Fetches and the bell are answered by the spec, all else at once.
  local function answer(words, client)
    if words[1] == "CLIENT" then
      return "+OK\r\n"
    elseif words[1] == "BLMPOP" then
      bell = { client = client, key = words[4], count = bell.count + 1 }
      return bell.count == 1 and "*-1\r\n" or nil -- it may wait
    elseif words[1] == "FCALL" then
      calls[#calls + 1] = words
      if words[2] == "te1_fetch" then
        fetch = { client = client, number = tonumber(words[8]) }
      end
      return ANSWERS[words[2]]
    end
  end

  before_each(function()
    calls, bell, fetch = {}, { count = 0 }, nil
    server = scripted_redis.listen(answer)
    place = program.place { broker = server.url }
    place:write("tasks.lua", [[
      require("taskengine").app("tasks"):task("add", function()
        io.open("ran", "w"):close()
        return "done"
      end)
    ]])
    place:worker { "tasks.lua", "-P", "1" }
    wait_until(function()
      return bell.count == 2 and fetch
    end, 20, "a worker that fetches and listens")
  end)

  after_each(function()
    place:close()
    server:close()
  end)

  local function ring(item)
    local count = bell.count
    bell.client:send(list(bulk(bell.key), list(bulk(item))))
    wait_until(function()
      return bell.count > count
    end, 20, "it to be heard")
  end

  local function hand_out()
    fetch.client:send(list(":1\r\n", ":0\r\n",
      bulk(envelope.new { id = id, name = "add" })))
  end

  -- The operation of the first te1_finish, its field and its record.
  local function finished()
    return wait_until(function()
      for _, words in ipairs(calls) do
        if words[2] == "te1_finish" then
          return { table.unpack(words, 7) }
        end
      end
    end, 20, "an end")
  end

  it("before it has got that never begins it", function()
    local field = envelope.field(id, fetch.number)
    ring("~c" .. field)
    hand_out()
    local done = finished()
    assert.same({ "o", field, "R" }, { done[1], done[2], done[3]:sub(1, 1) })
    assert.same({ kind = "Revoked", message = "revoked before it began" },
      (assert(core.codec.decode(done[3]:sub(2)))))
    assert.is_nil(core.sys.stat(place.dir .. "/ran"))
  end)

  it("that is another runs this one", function()
    ring("~c" .. envelope.field(id, fetch.number + 1))
    hand_out()
    local done = finished()
    assert.equal("s", done[1])
    assert.equal("S", done[#done]:sub(1, 1))
    assert.truthy(core.sys.stat(place.dir .. "/ran"))
  end)

  it("by something else than a request runs it", function()
    local field = envelope.field(id, fetch.number)
    for _, item in ipairs {
      "~", "~c", "~x" .. field, "~c" .. field .. "x", "~c" .. field:sub(2),
    } do
      ring(item)
    end
    hand_out()
    assert.equal("s", finished()[1])
  end)
end)
