local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local message = require("taskengine.message")
local misuse = require("spec.support.misuse")

local ID <const> = "Producer0001" .. "00000001"
local SETTINGS <const> = { result_expires = 3600, serializer = "msgpack" }

-- What the options make of a call, and the header that goes out.
local function make(task, opts)
  local m = message.new("add", task or {}, opts or {}, SETTINGS)
  local bytes = assert(core.envelope.pack(m.template, m.own_id or ID, { 1 }))
  return m, envelope.read(bytes)
end

describe("taskengine.message", function()
  it("is plain without options", function()
    local m, header = make()
    assert.is_true(m.is_plain)
    assert.is_true(m.keeps_result)
    assert.same({ "default", "add", 0, 0, 0, 3600, "" }, { header.queue,
      header.name, header.priority, header.flags, header.time_limit_ms,
      header.ttl_s, header.alias })
  end)

  it("puts the options of a call before those of the task", function()
    local task = { queue = "slow", priority = 2, time_limit = 9, expires = 60,
      ignore_result = true }
    local m, header = make(task)
    assert.same({ "slow", 2, 9000, "60000", false }, { header.queue,
      header.priority, header.time_limit_ms, m.expires, m.keeps_result })
    m, header = make(task, { queue = "fast", priority = 0, time_limit = 0.5,
      expires = 1.5, ignore_result = false })
    assert.same({ "fast", 0, 500, "1500", true }, { header.queue,
      header.priority, header.time_limit_ms, m.expires, m.keeps_result })
  end)

  it("has a soft time limit that is less than the hard one", function()
    local task = { soft_time_limit = 1.5, time_limit = 2 }
    local function limits(...)
      local _, header = make(...)
      return { header.soft_time_limit_ms, header.time_limit_ms }
    end
    assert.same({ 0, 0 }, limits())
    assert.same({ 1500, 2000 }, limits(task))
    assert.same({ 500, 2000 }, limits(task, { soft_time_limit = 0.5 }))
    local function problem(opts)
      return misuse(message.new, "add", task, opts, SETTINGS)
    end
    assert.equal("task 'add': the soft time limit (1.5 s) has to be less than"
      .. " the time limit (1 s)", problem { time_limit = 1 })
    assert.equal("task 'add': the soft time limit (2 s) has to be less than the"
      .. " time limit (2 s)", problem { soft_time_limit = 2 })
  end)

  it("has flags for results, lost workers and starts", function()
    for flags, options in pairs {
      [1] = { ignore_result = true },
      [2] = { acks_late = false },
      [3] = { reject_on_worker_lost = false, ignore_result = true },
      [4] = { track_started = true },
    } do
      local _, header = make(options)
      assert.equal(flags, header.flags)
    end
    local _, header = make { acks_late = true, reject_on_worker_lost = true }
    assert.equal(0, header.flags)
  end)

  it("ends at its expiry or its deadline, the call's before the task's",
    function()
      local DEADLINE <const> = 64
      for _, case in ipairs {
        { {}, {}, "", 0 },
        { { expires = 60 }, {}, "60000", 0 },
        { { deadline = 60 }, {}, "60000", DEADLINE },
        { { deadline = 60 }, { expires = 1.5 }, "1500", 0 },
        { { expires = 60 }, { deadline = 1.5 }, "1500", DEADLINE },
      } do
        local m, header = make(case[1], case[2])
        assert.same({ case[3], case[4] }, { m.expires, header.flags })
      end
    end)

  it("brings what a call says of its retries and memory", function()
    assert.is_nil(make({ max_retries = 5 }, { retry = true }).retry)
    assert.is_false(make({}, { retry = false }).retry)
    assert.same({ max_retries = false, retry_delay = 2 },
      make({}, { retry = { max_retries = math.huge, retry_delay = 2 } }).retry)
    assert.equal(64 << 20, make({}, { memory_limit = "64M" }).memory_limit)
  end)

  it("has a flag for JSON", function()
    local m = message.new("add", {}, { ignore_result = true },
      { result_expires = 3600, serializer = "json" })
    local bytes = assert(core.envelope.pack(m.template, ID, { 1 }))
    assert.equal(8 + 1, envelope.read(bytes).flags)
  end)

  it("counts delays in milliseconds", function()
    assert.equal("+1500", make(nil, { countdown = 1.5 }).delay)
    assert.equal("+1", make(nil, { countdown = 0.0001 }).delay)
    assert.equal("", make(nil, { countdown = 0 }).delay)
    assert.equal("1772350200250", make(nil,
      { eta = "2026-03-01T08:30:00.25+01:00" }).delay)
    assert.equal("0", make(nil, { eta = 0 }).delay)
    assert.is_false(make(nil, { countdown = 1 }).is_plain)
  end)

  it("is not plain with a priority or an expiry", function()
    assert.is_false(make(nil, { priority = 1 }).is_plain)
    assert.is_false(make(nil, { expires = 1 }).is_plain)
    assert.is_true(make(nil, { queue = "q", time_limit = 1 }).is_plain)
  end)

  it("names a task by an id of the caller's", function()
    local m, header = make(nil, { task_id = "order-7" })
    assert.same({ "uorder-7", "order-7", nil, false },
      { m.unique, m.shown_id, m.own_id, m.is_plain })
    assert.same({ "order-7", ID }, { header.alias, header.id })
  end)

  it("repeats a task by an id of the engine's", function()
    local theirs = "Producer0002" .. "00000007"
    local m, header = make(nil, { task_id = theirs })
    assert.same({ "i", theirs, theirs }, { m.unique, m.shown_id, m.own_id })
    assert.same({ theirs, theirs }, { header.alias, header.id })
  end)
end)
