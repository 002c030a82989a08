--- How outcomes come to those who wait, whatever happens on the way: as
-- delivery_spec.lua, with a worker played on the shard.

local client = require("taskengine.client")
local core = require("taskengine.core")
local message = require("taskengine.message")
local misuse = require("spec.support.misuse")
local result = require("taskengine.result")
local results = require("taskengine.results")
local shard = require("spec.support.shard")
local shard_transport = require("spec.support.shard_transport")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local SETTINGS <const> = { result_expires = 60, serializer = "msgpack" }

local loop = core.loop

describe("waiting for results", function()
  local s, transport, way

  before_each(function()
    s = shard.new()
    transport = shard_transport.new(s)
    way = client.new(transport, {
      broker_timeout = 5,
      message_bytes_max = 1000000,
      result_expires = 3600,
    })
    s:register("w1")
  end)

  -- Sends calls and returns their results.
  local function send(n, opts)
    local m = message.new("add", {}, opts or {}, SETTINGS)
    local list = {}
    for i = 1, n or 1 do
      local id = way:send(m, { i })
      list[i] = result.new(way, m.shown_id or id, {
        name = "add",
        engine_id = id,
        keeps_result = m.keeps_result,
      })
    end
    return table.unpack(list)
  end

  local function success(value)
    return "S" .. core.codec.encode(value)
  end

  -- Ends the next n tasks with this record.
  local function finish(n, record)
    for _, field in ipairs(s:take("w1", n)) do
      s:finish("w1", "o", field, record)
    end
  end

  local function later(ms, fn, ...)
    local args = table.pack(...)
    loop.timer(ms, function()
      fn(table.unpack(args, 1, args.n))
      transport:deliver()
    end)
  end

  local function calls(name)
    local count = 0
    for _, call in ipairs(transport.calls) do
      count = count + (call.name == name and 1 or 0)
    end
    return count
  end

  -- Nobody waits any more, for Redis too.
  local function assert_no_waits()
    wait_until(function()
      return #transport.under_way == 0 and not next(way.waits.to_end)
    end)
    assert.same({}, way.waits.listeners)
    assert.equal(0, way.waits.count)
    assert.is_falsy(transport.is_listening)
    assert.equal(0, s:redis("EXISTS", "y"))
  end

  it("brings a value that comes later", function()
    local r = send()
    later(3, finish, 1, success { 7 })
    assert.same({ 7 }, r:get())
    assert.equal(1, calls("te1_await"))
    assert_no_waits()
  end)

  it("brings a value that is there already", function()
    local r = send()
    finish(1, success(7))
    assert.equal(7, r:get())
    assert_no_waits()
  end)

  it("asks no more once it knows", function()
    local r = send()
    finish(1, success(7))
    r:get()
    local before = #transport.calls
    assert.same({ 7, true, "SUCCESS", 7 }, { r:get(), r:ready(), r:state(),
      r:result() })
    assert.equal(before, #transport.calls)
  end)

  it("raises errors with the task's id and name", function()
    local r = send()
    finish(1, "F" .. core.codec.encode { kind = "Mine", message = "m" })
    local ok, e = pcall(r.get, r)
    assert.is_false(ok)
    assert.same({ "Mine", "m", r.id, "add" }, { e.kind, e.message, e.id,
      e.name })
    assert.same({ false, e }, { r:wait() })
    assert.same({ "FAILURE", true, false, true },
      { r:state(), r:failed(), r:successful(), r:ready() })
  end)

  it("gives up when the time is up; the task goes on", function()
    local r = send()
    local _, e = pcall(r.get, r, { timeout = 0.01 })
    assert.same({ "Timeout", "not finished within 0.01 s; the task goes on" },
      { e.kind, e.message })
    assert.same({ nil, "timeout" }, { r:wait(0.01) })
    assert_no_waits()
    finish(1, success(7))
    assert.equal(7, r:get { timeout = 1 })
  end)

  it("looks once with a timeout of 0", function()
    local r = send()
    assert.same({ nil, "timeout" }, { r:wait(0) })
    finish(1, success(7))
    assert.same({ true, 7 }, { r:wait(0) })
    assert.equal(0, calls("te1_await"))
  end)

  it("serves many who wait for one task", function()
    local r = send()
    local all = {}
    for i = 1, 5 do
      -- Each with an object of its own.
      local own = result.new(way, r.id)
      all[i] = te.spawn(function()
        return own:get { timeout = i == 3 and 0.002 or nil }
      end)
    end
    local ok, e = table.remove(all, 3):wait()
    assert.same({ false, "Timeout" }, { ok, e.kind })
    later(1, finish, 1, success(7))
    for _, one in ipairs(all) do
      assert.equal(7, one:get())
    end
    assert.equal(1, calls("te1_await"))
    assert_no_waits()
  end)

  it("asks for many at once", function()
    local all = {}
    for i, r in ipairs { send(50) } do
      all[i] = te.spawn(r.get, r)
    end
    later(5, finish, 50, success(7))
    for _, one in ipairs(all) do
      assert.equal(7, one:get())
    end
    assert.equal(1, calls("te1_await"))
  end)

  it("fetches what is too large for an inbox", function()
    local large = ("x"):rep(70000)
    local r = send()
    later(2, finish, 1, success(large))
    assert.equal(large, r:get())
    assert.equal(1, calls("te1_outcome"))
  end)

  it("finds a task by an id of the caller's", function()
    local r = send(1, { task_id = "order-7" })
    assert.equal("order-7", r.id)
    assert.equal("PENDING", r:state())
    later(2, finish, 1, success(7))
    assert.equal(7, r:get())
    assert.equal(7, result.new(way, "order-7"):get())
    assert_no_waits()
  end)

  it("tells what was never enqueued", function()
    local r = result.new(way, core.envelope.id(core.envelope.new_producer(), 1))
    assert.same({ "UNKNOWN", false }, { r:state(), r:ready() })
    local _, e = pcall(r.get, r)
    assert.same({ "Forgotten", "no such task was ever enqueued, or nothing is"
      .. " remembered of it" }, { e.kind, e.message })
    _, e = pcall(result.new(way, "order-9").get, r)
    assert.equal("Forgotten", e.kind)
    assert_no_waits()
  end)

  it("forgets", function()
    local r = send()
    assert.is_false(r:forget())
    finish(1, success(7))
    r:get()
    assert.is_true(r:forget())
    local _, e = pcall(r.get, r)
    assert.same({ "Forgotten", "its result is gone: it has"
      .. " expired, was forgotten or never kept" },
      { e.kind, e.message })
    assert.equal("UNKNOWN", r:state())
    assert.is_true(r:ready())
  end)

  it("revokes what waits, and only that", function()
    local waiting, due = send(), send(1, { countdown = 60 })
    assert.is_true(waiting:revoke())
    assert.is_true(due:revoke())
    for _, r in ipairs { waiting, due } do
      local _, e = pcall(r.get, r)
      assert.equal("Revoked", e.kind)
      assert.equal("REVOKED", r:state())
    end
    local done = send()
    finish(1, success(7))
    local running = send()
    s:take("w1", 1)
    assert.same({ false, "finished" }, { done:revoke() })
    assert.same({ false, "running" }, { running:revoke() })
    assert.same({ false, "unknown" }, { result.new(way, "nobody"):revoke() })
  end)

  it("tells all that is known", function()
    local r = send()
    assert.same({ id = r.id, name = "add", state = "PENDING" }, r:info())
    assert.is_nil(r:result())
    finish(1, "F" .. core.codec.encode { kind = "Error", message = "m",
      traceback = "tb" })
    local info = r:info()
    assert.same({ "FAILURE", "m" }, { info.state, info.error.message })
    assert.equal(info.error, r:result())
    assert.equal("tb", r:traceback())
  end)

  it("refuses to wait for what is not kept", function()
    local r = send(1, { ignore_result = true })
    for _, name in ipairs { "get", "wait", "ready", "state", "result" } do
      assert.equal(name .. ": the task was sent with ignore_result, so nothing"
        .. " is kept of how it ends", misuse(r[name], r))
    end
    assert.is_true(r:revoke())
  end)

  it("says that a dot has to be a colon", function()
    local r = send()
    assert.equal("use result:get(...), with a colon", misuse(r.get))
  end)

  it("refuses wrong arguments", function()
    local r = send()
    assert.equal("get: options: a table expected, got 10", misuse(r.get, r, 10))
    assert.equal("get: unknown option 'timout' (did you mean 'timeout'?)",
      misuse(r.get, r, { timout = 1 }))
    assert.equal("wait: timeout: seconds from 0 to 3162240000 expected, got -1",
      misuse(r.wait, r, -1))
  end)

  describe("when the connection breaks", function()
    it("asks again, and misses nothing that was on its way", function()
      local r = send()
      later(2, function()
        transport:cut()
        finish(1, success(7))
        s:heard(transport:inbox()) -- what was popped is lost
        loop.timer(2, function()
          transport:restore()
        end)
      end)
      assert.equal(7, r:get())
      assert_no_waits()
    end)

    it("asks again for what it was just asking for", function()
      local r = send()
      local faults = { "answer lost", "lost" }
      function transport.decide(name)
        local verdict = name == "te1_await" and table.remove(faults) or "done"
        if verdict ~= "done" then
          later(1, transport.restore, transport)
        end
        return verdict
      end
      later(10, finish, 1, success(7))
      assert.equal(7, r:get())
      assert.equal(0, #faults)
    end)

    it("asks for fewer, as they may be too large together", function()
      local all, outages = {}, 0
      for i, r in ipairs { send(40) } do
        all[i] = te.spawn(r.get, r)
      end
      finish(40, success(("x"):rep(1000)))
      function transport.decide(name, args)
        if name ~= "te1_await" or #args <= 11 then
          return "done"
        end
        outages = outages + 1
        later(1, transport.restore, transport)
        return "answer lost"
      end
      for _, one in ipairs(all) do
        assert.equal(1000, #one:get())
      end
      assert.is_true(outages < 10)
      assert_no_waits()
    end)

    it("outlasts it, but does not begin in it", function()
      way.timeout_ms = 20
      local r, other = send(2)
      local one = te.spawn(r.get, r)
      wait_until(function()
        return calls("te1_await") == 1 and #transport.under_way == 0
      end)
      transport:cut()
      local _, e = pcall(other.get, other)
      assert.equal("BrokerUnavailable", e.kind)
      te.sleep(0.05)
      transport:restore()
      later(1, finish, 2, success(7))
      assert.equal(7, one:get())
    end)

    it("ends when trying again is hopeless", function()
      local r = send()
      later(2, transport.cut, transport, true)
      local _, e = pcall(r.get, r)
      assert.same({ "BrokerUnavailable", "connection reset" },
        { e.kind, e.message })
    end)
  end)

  describe("after a silence", function()
    before_each(function()
      way.waits.silence.min_ms = 5
    end)

    local function wait_for_silence()
      wait_until(function()
        return calls("te1_look") > 0
      end)
    end

    it("ends for an outcome that has expired", function()
      local r = send()
      finish(1, success(7))
      s:advance(61000)
      local _, e = pcall(r.get, r)
      assert.equal("Forgotten", e.kind)
      assert_no_waits()
    end)

    it("ends when all was deleted", function()
      local r = send()
      later(2, s.redis, s, "DEL", "i:" .. r.id:sub(1, 12),
        shard.PREFIX .. "r:default", shard.PREFIX .. "y", shard.PREFIX .. "yt")
      local _, e = pcall(r.get, r)
      assert.equal("Forgotten", e.kind)
      assert_no_waits()
    end)

    it("brings what never came to the inbox", function()
      local r = send()
      local one = te.spawn(r.get, r)
      wait_until(function()
        return calls("te1_await") == 1 and #transport.under_way == 0
      end)
      finish(1, success(7))
      s:redis("DEL", transport:inbox())
      assert.equal(7, one:get())
      assert_no_waits()
    end)

    it("goes on for tasks that wait or run", function()
      local r, other = send(2)
      local both = { te.spawn(r.get, r), te.spawn(other.get, other) }
      local field = s:take("w1", 1)[1]
      wait_for_silence()
      s:finish("w1", "o", field, success(7))
      transport:deliver()
      assert.equal(7, both[1]:get())
      later(1, finish, 1, success(8))
      assert.equal(8, both[2]:get())
      assert_no_waits()
    end)

    it("outlasts that Redis cannot answer", function()
      local r = send()
      local one = te.spawn(r.get, r)
      function transport.decide(name)
        return name == "te1_look" and "refused" or "done"
      end
      wait_for_silence()
      function transport.decide()
        return "done"
      end
      later(1, finish, 1, success(7))
      assert.equal(7, one:get())
    end)

    it("brings what is too large for an answer", function()
      local r = send()
      local one = te.spawn(r.get, r)
      wait_until(function()
        return calls("te1_await") == 1 and #transport.under_way == 0
      end)
      finish(1, success(("x"):rep(70000)))
      s:redis("DEL", transport:inbox())
      assert.equal(70000, #one:get())
      assert_no_waits()
    end)

    it("asks about few at a time, about all in the end", function()
      local list, asked, most = { send(600) }, {}, 0
      local all = {}
      for i, r in ipairs(list) do
        all[i] = te.spawn(r.get, r)
      end
      function transport.decide(name, args)
        if name == "te1_look" then
          most = math.max(most, #args)
          for _, id in ipairs(args) do
            asked[id] = (asked[id] or 0) + 1
          end
        end
        return "done"
      end
      wait_until(function()
        return calls("te1_look") == 3 and #transport.under_way == 0
      end)
      assert.equal(250, most)
      for _, r in ipairs(list) do
        assert.equal(1, asked[r.id])
      end
      later(1, finish, 600, success(7))
      for _, one in ipairs(all) do
        assert.equal(7, one:get())
      end
    end)

    it("asks on when it found what had ended", function()
      local list, all = { send(600) }, {}
      for i, r in ipairs(list) do
        all[i] = te.spawn(r.get, r)
      end
      finish(600, success(7))
      s:advance(61000)
      for _, one in ipairs(all) do
        assert.is_false((one:wait()))
      end
      assert.is_true(calls("te1_look") >= 3)
      assert_no_waits()
    end)

    it("is looked for while somebody waits", function()
      local r = send()
      later(1, finish, 1, success(7))
      r:get()
      wait_until(function()
        return way.waits.silence.timer == nil
      end)
      assert.equal(0, calls("te1_look"))
    end)
  end)

  it("asks at once about a task of long ago", function()
    local r = send()
    finish(1, success(7))
    s:advance(61000)
    local _, e = pcall(function()
      return result.new(way, r.id):get()
    end)
    assert.equal("Forgotten", e.kind)
    assert.equal(0, calls("te1_await"))
  end)

  it("ends when the client is closed", function()
    local r = send()
    later(2, way.close, way)
    local _, e = pcall(r.get, r)
    assert.same({ "BrokerUnavailable", "the app was closed" },
      { e.kind, e.message })
  end)

  it("says what Redis refuses", function()
    local r = send()
    function transport.decide(name)
      return name == "te1_await" and "refused" or "done"
    end
    local _, e = pcall(r.get, r)
    assert.same({ "BrokerUnavailable", "Redis refused it: its memory is full"
      .. " (maxmemory)" }, { e.kind, e.message })
  end)

  describe("in the order of their ends", function()
    it("begins with the first that had ended before", function()
      local list = { send(5) }
      finish(5, success(7))
      local order = {}
      for r in te.as_completed(list) do
        order[#order + 1] = r.id
      end
      for i, r in ipairs(list) do
        assert.equal(r.id, order[i])
      end
    end)

    it("brings each once, also what is listed twice", function()
      local list = { send(5) }
      list[6] = list[2]
      finish(1, success("first"))
      local next_is = { [1] = "then", [4] = "last" }
      local seen, order = {}, {}
      for r in te.as_completed(list, 5) do
        seen[r.id] = (seen[r.id] or 0) + 1
        order[#order + 1] = r:get { timeout = 0 }
        if next_is[#order] then
          later(1, finish, 2, success(next_is[#order]))
        end
      end
      assert.same({ "first", "then", "then", "then", "last", "last" }, order)
      assert.equal(2, seen[list[2].id])
      assert_no_waits()
    end)

    it("takes results whose end is known, and failures", function()
      local a, b = send(2)
      finish(1, success(1))
      a:get()
      finish(1, "F" .. core.codec.encode { kind = "Error", message = "m" })
      local count = 0
      for r in te.as_completed { a, b } do
        count = count + 1
        assert.equal(r == a, (r:wait()))
      end
      assert.equal(2, count)
      for _ in te.as_completed {} do
        error("there is none")
      end
    end)

    it("takes ids of the caller's", function()
      local r = send(1, { task_id = "order-7" })
      later(2, finish, 1, success(7))
      for done in te.as_completed { r } do
        assert.equal(r, done)
        assert.equal(7, done:get())
      end
    end)

    it("raises when the time is up", function()
      local list = { send(3) }
      finish(1, success(7))
      local count = 0
      local ok, e = pcall(function()
        for _ in te.as_completed(list, 0.01) do
          count = count + 1
        end
      end)
      assert.is_false(ok)
      assert.same({ 1, "Timeout", "2 of 3 tasks not finished within 0.01 s;"
        .. " they go on" }, { count, e.kind, e.message })
      assert_no_waits()
    end)

    it("lets go of the rest when the loop is left", function()
      local list = { send(3) }
      finish(1, success(7))
      for r in te.as_completed(list) do
        if r:get() == 7 then
          break
        end
        error("not the first")
      end
      assert_no_waits()
    end)

    it("refuses what is no result", function()
      local r = send(1, { ignore_result = true })
      assert.equal("as_completed: element 1 is no result but 7",
        misuse(te.as_completed, { 7 }))
      assert.equal("as_completed: a list of results expected, got nil",
        misuse(te.as_completed))
      assert.equal("as_completed: tasks that were sent with ignore_result"
        .. " leave nothing to wait for", misuse(te.as_completed, { r }))
      assert.equal('as_completed: timeout: seconds from 0 to 3162240000'
        .. ' expected, got "x"', misuse(te.as_completed, {}, "x"))
    end)

    it("divides into those that have ended and the others", function()
      local a, b, c = send(3)
      finish(1, success(1))
      later(1, finish, 1, success(2))
      te.wait { a, b }
      local done, pending = te.wait({ a, b, c }, 0.02)
      assert.same({ { a, b }, { c } }, { done, pending })
      later(1, finish, 1, success(3))
      done, pending = te.wait { c }
      assert.same({ { c }, {} }, { done, pending })
    end)
  end)

  describe("of many that were sent at once", function()
    local function send_many(n, opts)
      local m = message.new("add", {}, opts or {}, SETTINGS)
      local list = {}
      for i = 1, n do
        list[i] = { i }
      end
      return results.new(way, m, way:send_many(m, list))
    end

    it("is an array that makes its elements when they are read", function()
      local all = send_many(2500)
      assert.equal(2500, #all)
      assert.is_nil(next(all))
      assert.equal(all[7], all[7])
      assert.same({ nil, nil, nil }, { all[0], all[2501], all.x })
      local ids, count = {}, 0
      for i, r in ipairs(all) do
        assert.equal(results.id(all, i), r.id)
        ids[i], count = r.id, count + 1
      end
      assert.equal(2500, count)
      local ready = s:ready("default")
      table.sort(ready)
      table.sort(ids)
      assert.same(ready, ids)
      local _, problem = pcall(function()
        all[2501] = {}
      end)
      assert.matches("waiting_spec.lua:%d+: results cannot be changed$",
        problem)
    end)

    it("keeps the order of the list in the queue", function()
      local all = send_many(2500)
      local ready = s:ready("default")
      for i = 1, 2500 do
        assert.equal(ready[i], results.id(all, i))
      end
    end)

    it("can be waited for", function()
      local all = send_many(2500, { priority = 1 })
      later(1, function()
        while true do
          local fields = s:take("w1", 1000)
          if #fields == 0 then
            break
          end
          for _, field in ipairs(fields) do
            s:finish("w1", "o", field, success(field:sub(1, 20)))
          end
        end
        transport:deliver()
        transport:deliver()
        transport:deliver()
      end)
      local count = 0
      for r in te.as_completed(all, 10) do
        count = count + 1
        assert.equal(r.id, r:get { timeout = 0 })
      end
      assert.equal(2500, count)
      assert_no_waits()
    end)

    it("is empty for an empty list", function()
      local all = send_many(0)
      assert.equal(0, #all)
      assert.is_nil(all[1])
      assert.equal(0, #transport.calls)
      for _ in te.as_completed(all) do
        error("there is none")
      end
    end)

    it("names the call that cannot travel, and what was accepted", function()
      local list = {}
      for i = 1, 1500 do
        list[i] = { i }
      end
      list[1200] = { { f = print } }
      local m = message.new("add", {}, {}, SETTINGS)
      local ok, e = pcall(way.send_many, way, m, list)
      assert.is_false(ok)
      assert.equal("CannotTravel", e.kind)
      assert.matches("1200.*args%[1%]%.f: a function cannot be sent",
        e.message)
      local accepted = 0
      for _, part in ipairs(e.accepted) do
        accepted = accepted + part.to - part.from + 1
        assert.is_true(part.to < 1200)
      end
      assert.equal(accepted, #s:ready("default"))
      assert.same({}, e.unknown)
    end)

    it("tells the truth about every part when Redis fails", function()
      for _, fault in ipairs { "refused", "lost", "answer lost" } do
        s = shard.new()
        transport = shard_transport.new(s)
        way = client.new(transport, { broker_timeout = 0.02,
          message_bytes_max = 1000, result_expires = 1 })
        local left = 3
        function transport.decide()
          left = left - 1
          return left == 0 and fault or "done"
        end
        local list = {}
        for i = 1, 6000 do
          list[i] = { i }
        end
        local m = message.new("add", {}, {}, SETTINGS)
        local ok, e = pcall(way.send_many, way, m, list)
        assert.is_false(ok)
        assert.equal("BrokerUnavailable", e.kind)
        assert.equal(fault ~= "refused", e.indeterminate)
        local there = {}
        for _, bytes in ipairs(s:redis("LRANGE", "r:default", 0, -1)) do
          local body = core.codec.decode(bytes, 102 + #"default" + #"add" + 1)
          there[body[1][1]] = true
        end
        for i = 1, 6000 do
          local answer = "no"
          for _, word in ipairs { "accepted", "unknown" } do
            for _, part in ipairs(e[word]) do
              answer = i >= part.from and i <= part.to and word or answer
            end
          end
          assert.is_true(answer == "unknown"
            or there[i] == (answer == "accepted" or nil), fault .. i)
        end
      end
    end)
  end)
end)
