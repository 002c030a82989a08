--- How tasks come to Redis, whatever happens on the way: the shipped functions
-- over an in-memory Redis, behind a connection whose faults are decided here.

local core = require("taskengine.core")
local seed = require("spec.support.seed")
local shard_client = require("spec.support.shard_client")
local te = require("taskengine")

local loop = core.loop

describe("sending", function()
  local site = shard_client.for_each_spec()

  local function send(args, opts)
    return site.way:send(shard_client.message(opts), args)
  end

  local function try(args, opts)
    local ok, brought = pcall(send, args, opts)
    return ok and brought or nil, not ok and brought or nil
  end

  -- How often a task of this id is ready.
  local function ready(id, queue)
    local count = 0
    for _, one in ipairs(site.shard:ready(queue or "default")) do
      count = count + (one == id and 1 or 0)
    end
    return count
  end

  -- The calls of te1_enqueue so far: producer, first and last number.
  local function batches()
    local list = {}
    for _, call in ipairs(site.transport.calls) do
      if call.name == "te1_enqueue" then
        list[#list + 1] = { call.args[1], call.args[2], call.args[3] }
      end
    end
    return list
  end

  it("brings the id of a task that is ready then", function()
    local id = send { 4, 6 }
    assert.equal(1, core.envelope.seq(id))
    assert.same({ id }, site.shard:ready("default"))
    assert.equal(2, core.envelope.seq(send { 1, 2 }))
  end)

  it("puts what is sent in one turn into one batch", function()
    local all = {}
    for i = 1, 20 do
      all[i] = te.spawn(send, { i }, i % 3 == 0 and { priority = i % 10 }
        or { queue = i % 2 == 0 and "even" or "odd" })
    end
    local ids = {}
    for i, one in ipairs(all) do
      ids[i] = one:get()
    end
    assert.equal(1, #batches())
    for i, id in ipairs(ids) do
      local queue = i % 3 == 0 and "default" or i % 2 == 0 and "even" or "odd"
      assert.equal(1, ready(id, queue), i)
    end
  end)

  it("has one batch under way; what comes meanwhile is the next", function()
    local first = te.spawn(send, { 1 })
    te.sleep(0)
    local answered
    local decide = site.transport.decide
    function site.transport.decide()
      site.transport.decide = decide
      assert.equal(1, #batches())
      local others = {}
      for i = 1, 3 do
        others[i] = te.spawn(send, { i })
      end
      answered = others
      return "done"
    end
    first:get()
    for _, one in ipairs(answered) do
      one:get()
    end
    assert.same({ { 1, 1 }, { 2, 4 } }, {
      { batches()[1][2], batches()[1][3] },
      { batches()[2][2], batches()[2][3] },
    })
  end)

  it("keeps batches below 1000 tasks and 4 MB", function()
    local all = {}
    for i = 1, 2500 do
      all[i] = te.spawn(send, { i })
    end
    for i = 1, 10 do
      all[#all + 1] = te.spawn(send, { ("x"):rep(900000) .. i })
    end
    for _, one in ipairs(all) do
      one:get()
    end
    local expected = 1
    for _, batch in ipairs(batches()) do
      assert.equal(expected, batch[2])
      assert.is_true(batch[3] - batch[2] < 1000)
      expected = batch[3] + 1
    end
    assert.equal(2511, expected)
    for _, call in ipairs(site.transport.calls) do
      local bytes = 0
      for _, arg in ipairs(call.args) do
        bytes = bytes + #tostring(arg)
      end
      assert.is_true(bytes < 4.2 * 1024 * 1024)
    end
  end)

  it("sends again, under the same number, what was not answered", function()
    for _, fault in ipairs { "lost", "answer lost" } do
      site:open()
      site.transport:break_at(nil, { fault, fault })
      local id = send { 1 }
      assert.equal(1, ready(id))
      assert.equal(1, #site.shard:ready("default"))
      assert.equal(3, #batches())
      assert.same(batches()[1], batches()[3])
    end
  end)

  it("waits for a connection that is not there yet", function()
    site.transport.is_up = false
    loop.timer(5, function()
      site.transport:restore()
    end)
    assert.equal(1, ready(send { 1 }))
  end)

  it("says within broker_timeout that nothing was sent", function()
    site:open { broker_timeout = 0.02 }
    site.transport.is_up = false
    local began = loop.now()
    local _, e = try { 1 }
    assert.is_true(loop.now() - began < 4000) -- 5000 if it were the default
    assert.same({ "BrokerUnavailable", false, "the broker cannot be reached:"
      .. " connection reset" }, { e.kind, e.indeterminate, e.message })
    assert.equal(20, #e.id)
    site.transport:restore()
    assert.equal(1, ready(send { 2 }))
    assert.equal(0, ready(e.id))
  end)

  it("says that it does not know, and lets the id settle it", function()
    for _, fault in ipairs { "lost", "answer lost" } do
      site:open { broker_timeout = 0.02 }
      function site.transport.decide()
        return fault
      end
      local _, e = try { 1 }
      assert.same({ "BrokerUnavailable", true }, { e.kind, e.indeterminate })
      site.transport.decide = nil
      site.transport:restore()
      -- From another producer, twice, it stays one task.
      assert.equal(e.id, send({ 1 }, { task_id = e.id }))
      assert.equal(e.id, send({ 1 }, { task_id = e.id }))
      assert.same({ e.id }, site.shard:ready("default"))
    end
  end)

  it("never uses a producer again after a failure", function()
    for _, fault in ipairs { "lost", "answer lost", "refused" } do
      site:open { broker_timeout = 0.02 }
      function site.transport.decide()
        return fault
      end
      local _, e = try { 1 }
      site.transport.decide = nil
      if fault ~= "refused" then
        site.transport:restore()
      end
      local id = send { 2 }
      assert.not_equal(e.id:sub(1, 12), id:sub(1, 12))
      assert.equal(1, core.envelope.seq(id))
    end
  end)

  it("gives up what stands behind a batch that failed", function()
    site:open { broker_timeout = 0.02 }
    local all = { te.spawn(try, { 1 }) }
    te.sleep(0) -- the first is under way, the others are a batch behind it
    function site.transport.decide()
      for i = 2, 4 do
        all[i] = te.spawn(try, { i })
      end
      site.transport.decide = function()
        return "lost"
      end
      loop.defer(function()
        loop.defer(function() end)
      end)
      return "lost"
    end
    local _, e = all[1]:get()
    assert.is_true(e.indeterminate)
    for i = 2, 4 do
      local _, other = all[i]:get()
      assert.equal("BrokerUnavailable", other.kind)
      assert.is_false(other.indeterminate)
      assert.equal(e.id:sub(1, 12), other.id:sub(1, 12))
    end
    site.transport.decide = nil
    site.transport:restore()
    send { 5 }
    assert.equal(1, #site.shard:ready("default"))
  end)

  it("says why Redis refused", function()
    function site.transport.decide()
      return "refused"
    end
    local _, e = try { 1 }
    assert.same({ "BrokerUnavailable", false, "Redis refused it: its memory"
      .. " is full (maxmemory)" }, { e.kind, e.indeterminate, e.message })
  end)

  it("fails at once when trying again is hopeless", function()
    site.transport.is_up = false
    loop.timer(1, function()
      site.transport.on_down("WRONGPASS invalid password", true)
    end)
    local _, e = try { 1 }
    assert.same({ "BrokerUnavailable", false, "WRONGPASS invalid password" },
      { e.kind, e.indeterminate, e.message })
  end)

  it("goes on with new numbers when Redis lost its memory of the old",
    function()
      send { 1 }
      site.shard:redis("DEL", "i:" .. batches()[1][1])
      local all = {}
      for i = 1, 3 do
        all[i] = te.spawn(send, { i }, i == 2 and { priority = 3 } or nil)
      end
      for _, one in ipairs(all) do
        local id = one:get()
        assert.not_equal(batches()[1][1], id:sub(1, 12))
        assert.equal(1, ready(id))
      end
      assert.equal(4, #site.shard:ready("default"))
    end)

  it("keeps an id of the caller's when it renumbers", function()
    send { 1 }
    site.shard:redis("DEL", "i:" .. batches()[1][1])
    local theirs = "Producer0009" .. "00000003"
    assert.equal(theirs, send({ 1 }, { task_id = theirs }))
    assert.equal(1, ready(theirs))
  end)

  it("gives two calls with one id the same task", function()
    local one = send({ 1 }, { task_id = "order-7" })
    assert.equal(one, send({ 1 }, { task_id = "order-7" }))
    assert.same({ one }, site.shard:ready("default"))
    -- Both in one batch, one of them with a delay.
    local a = te.spawn(send, { 1 }, { task_id = "order-8" })
    local b = te.spawn(send, { 1 }, { task_id = "order-8", countdown = 9 })
    assert.equal(a:get(), b:get())
  end)

  it("sends nothing of a call whose arguments cannot travel", function()
    local _, e = try { 1, { on_done = print } }
    assert.same({ "CannotTravel", "args[2].on_done: a function cannot be sent",
      "add" }, { e.kind, e.message, e.name })
    site:open { message_bytes_max = 100 }
    _, e = try { ("x"):rep(100) }
    assert.equal("TooLarge", e.kind)
    assert.equal(0, #site.transport.calls)
  end)

  describe("under random faults", function()
    local FAULTS <const> = { "done", "done", "done", "done", "lost",
      "answer lost", "refused" }
    -- How often a task may be there, by what its caller was told.
    local TRUTH <const> = {
      accepted = { 1, 1 },
      unknown = { 0, 1 },
      ["not accepted"] = { 0, 0 },
    }
    local told

    before_each(function()
      seed.begin()
      site:open { broker_timeout = 0.03 }
      told = {}
      function site.transport.decide()
        local verdict = FAULTS[math.random(#FAULTS)]
        if verdict:find("lost") then
          loop.timer(math.random() < 0.2 and 60 or 1, function()
            site.transport:restore()
          end)
        end
        return verdict
      end
    end)

    local function call_often(caller)
      for i = 1, 30 do
        local opts = math.random() < 0.3 and { priority = 1 } or nil
        local id, e = try({ caller, i }, opts)
        told[id or e.id] = id and "accepted" or e.indeterminate and "unknown"
          or "not accepted"
        te.sleep(math.random() / 1000)
      end
    end

    local function count_answers()
      local count = { accepted = 0, unknown = 0, ["not accepted"] = 0 }
      for _, answer in pairs(told) do
        count[answer] = count[answer] + 1
      end
      return count
    end

    -- Callers call until each answer was given, or for so long that chance
    -- cannot be why one was not.
    local function run_callers()
      local rounds = 0
      repeat
        local fibers = {}
        for caller = 1, 20 do
          fibers[caller] = te.spawn(call_often, caller)
        end
        for _, one in ipairs(fibers) do
          one:get()
        end
        rounds = rounds + 1
        local count = count_answers()
        local all = count.accepted > 0 and count.unknown > 0
          and count["not accepted"] > 0
      until all or rounds == 10
      return count_answers()
    end

    local function held()
      local count = {}
      for _, id in ipairs(site.shard:ready("default")) do
        count[id] = (count[id] or 0) + 1
      end
      return count
    end

    local function assert_truth(there)
      for id, answer in pairs(told) do
        local n, bounds = there[id] or 0, TRUTH[answer]
        assert.is_true(n >= bounds[1] and n <= bounds[2],
          ("%s was %s, and is there %d times"):format(id, answer, n))
        there[id] = nil
      end
      assert.is_nil(next(there), "a task that nobody was told of")
    end

    it("callers are told the truth", function()
      local count = run_callers()
      assert_truth(held())
      for answer, n in pairs(count) do
        assert.is_true(n > 0, "nothing was " .. answer)
      end
    end)

    it("repeating what is unknown makes one task of each", function()
      run_callers()
      site.transport.decide = nil
      if not site.transport.is_up then
        site.transport:restore()
      end
      for id, answer in pairs(told) do
        if answer == "unknown" then
          send({ 0 }, { task_id = id })
          send({ 0 }, { task_id = id })
          assert.equal(1, ready(id))
        end
      end
    end)
  end)
end)
