local core = require("taskengine.core")
local misuse = require("spec.support.misuse")
local results = require("taskengine.results")
local shard_client = require("spec.support.shard_client")
local te = require("taskengine")

local success = shard_client.success

describe("the results of many that were sent at once", function()
  local site = shard_client.for_each_spec()

  local function calls(n)
    local list = {}
    for i = 1, n do
      list[i] = { i }
    end
    return list
  end

  local function send_many(n, opts)
    local m = shard_client.message(opts)
    return results.new(site.way, m, site.way:send_many(m, calls(n)))
  end

  it("are divided by how they stand now, in few questions", function()
    local all = send_many(600)
    site:finish(400, success(7))
    local done, pending = te.wait(all, 0)
    assert.same({ 400, 200, all[401] }, { #done, #pending, pending[1] })
    assert.equal(3, site:calls("te1_state"))
  end)

  it("are revoked all, in batches", function()
    local all = send_many(450)
    assert.same({ asked = 0, finished = 0, revoked = 450, unknown = 0 },
      all:revoke())
    assert.equal("REVOKED", all[450]:state())
    assert.equal(450, site.shard:redis("ZCARD", "cx"))
    assert.equal("use results:revoke(...), with a colon", misuse(all.revoke))
  end)

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
    local ready = site.shard:ready("default")
    table.sort(ready)
    table.sort(ids)
    assert.same(ready, ids)
    local _, problem = pcall(function()
      all[2501] = {}
    end)
    assert.matches("results_spec.lua:%d+: results cannot be changed$",
      problem)
  end)

  it("keeps the order of the list in the queue", function()
    local all = send_many(2500)
    local ready = site.shard:ready("default")
    for i = 1, 2500 do
      assert.equal(ready[i], results.id(all, i))
    end
  end)

  it("can be waited for", function()
    local all = send_many(2500, { priority = 1 })
    site:later(1, function()
      while true do
        local fields = site:take(1000)
        if #fields == 0 then
          break
        end
        for _, field in ipairs(fields) do
          site:end_one(field, success(field:sub(1, 20)))
        end
      end
      site.transport:deliver()
      site.transport:deliver()
      site.transport:deliver()
    end)
    local count = 0
    for r in te.as_completed(all, 10) do
      count = count + 1
      assert.equal(r.id, r:get { timeout = 0 })
    end
    assert.equal(2500, count)
    site:assert_no_waits()
  end)

  it("is empty for an empty list", function()
    local all = send_many(0)
    assert.equal(0, #all)
    assert.is_nil(all[1])
    assert.equal(0, #site.transport.calls)
    for _ in te.as_completed(all) do
      error("there is none")
    end
  end)

  it("names the call that cannot travel, and what was accepted", function()
    local list = calls(1500)
    list[1200] = { { f = print } }
    local ok, e = pcall(site.way.send_many, site.way, shard_client.message(),
      list)
    assert.is_false(ok)
    assert.equal("CannotTravel", e.kind)
    assert.matches("1200.*args%[1%]%.f: a function cannot be sent",
      e.message)
    local accepted = 0
    for _, part in ipairs(e.accepted) do
      accepted = accepted + part.to - part.from + 1
      assert.is_true(part.to < 1200)
    end
    assert.equal(accepted, #site.shard:ready("default"))
    assert.same({}, e.unknown)
  end)

  it("tells the truth about every part when Redis fails", function()
    for _, fault in ipairs { "refused", "lost", "answer lost" } do
      site:open { broker_timeout = 0.02, message_bytes_max = 1000 }
      local left = 3
      function site.transport.decide()
        left = left - 1
        return left == 0 and fault or "done"
      end
      local ok, e = pcall(site.way.send_many, site.way, shard_client.message(),
        calls(6000))
      assert.is_false(ok)
      assert.equal("BrokerUnavailable", e.kind)
      assert.equal(fault ~= "refused", e.indeterminate)
      local there = {}
      for _, bytes in ipairs(site.shard:redis("LRANGE", "r:default", 0, -1)) do
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
