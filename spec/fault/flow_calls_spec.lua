--- How much one call for a large flow makes Redis do: in commands; at full
-- size in time of its processor, too, which others that compute lengthen.

local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local flow_watch = require("spec.support.flow_watch")
local te = require("taskengine")
local workers = require("spec.support.workers")

-- So many that a command for each in one call is too much.
local NODES <const> = chaos.size(5000, 100000)
-- A call takes about a thousand steps, most of two commands or fewer.
local COMMANDS_MAX <const> = 3000
local CALL_S_MAX <const> = chaos.size(math.huge, 0.010)
local WID <const>, LEASE_MS <const> = "workerAAAAAA", 600000
local FETCHED <const> = 250
-- As TE_REPORT_COSTLY_MAX has it.
local TOLD <const> = 250
local FAILED <const>, REVOKED <const> = "F\x80", "R\x80"

describe("A call for a large flow", function()
  local site = workers.for_each_spec {} -- each with its own Redis
  local most, fetches

  -- Does something; keeps the most that it has taken of Redis.
  local function measure(name, fn, ...)
    local commands = site:commands()
    local cpu_s = flow_watch.redis_cpu_s(site)
    local results = table.pack(fn(...))
    cpu_s = flow_watch.redis_cpu_s(site) - cpu_s
    commands = site:commands() - commands
    local so_far = most[name] or { cpu_s = 0, commands = 0 }
    most[name] = {
      cpu_s = math.max(so_far.cpu_s, cpu_s),
      commands = math.max(so_far.commands, commands),
    }
    return table.unpack(results, 1, results.n)
  end

  local function fcall(name, ...)
    return measure("te1_" .. name, site.fcall, site, name, ...)
  end

  before_each(function()
    most, fetches = {}, 0
    site.app:send_task("before", {}, { queue = "other" }) -- loads the library
    local way = site.app:_client()
    local try = way.try
    function way:try(name, args)
      return measure(name, try, self, name, args)
    end
  end)

  local function s(name, ...)
    return site.app:signature(name, table.pack(...))
  end

  local function fetch()
    fetches = fetches + 1
    local reply = fcall("fetch", WID, LEASE_MS, FETCHED, fetches, 0, "default")
    local is_more = reply[2] > 0 and reply[2] <= reply[1]
    return table.move(reply, 3, #reply, 1, {}), is_more
  end

  -- Ends tasks, and says so twice.
  local function finish(envelopes, outcome)
    for from = 1, #envelopes, TOLD do
      local args = {}
      for i = from, math.min(from + TOLD - 1, #envelopes) do
        table.move({ "o", envelope.field(envelopes[i], fetches),
          outcome(envelopes[i]) }, 1, 3, #args + 1, args)
      end
      assert.equal(#args // 3,
        fcall("finish", WID, LEASE_MS, table.unpack(args))[1])
      assert.equal(0,
        fcall("finish", WID, LEASE_MS, table.unpack(args))[1])
    end
  end

  -- Works until nothing is left to be done.
  local function work(outcome)
    local count = 0
    repeat
      local envelopes, is_more = fetch()
      finish(envelopes, outcome)
      count = count + #envelopes
    until #envelopes == 0 and not is_more
    return count
  end

  local function assert_short()
    local names = {}
    for name in pairs(most) do
      names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
      io.write(("[%s %d commands %.1fms]"):format(name, most[name].commands,
        most[name].cpu_s * 1000))
    end
    for _, name in ipairs(names) do
      assert.is_true(most[name].commands <= COMMANDS_MAX, name)
      assert.is_true(most[name].cpu_s <= CALL_S_MAX, name)
    end
  end

  local function send_chord()
    local list = {}
    for i = 1, NODES do
      list[i] = s("member", i)
    end
    return te.chord(list, s("callback"))()
  end

  it("is short, from a chord's first member to its callback", function()
    local r = send_chord()
    local producer = r.id:sub(1, 12)
    local callback
    fcall("register", WID, LEASE_MS, "", "default")
    local function outcome(bytes)
      callback = envelope.read(bytes).name == "callback" and bytes or callback
      return "S" .. core.codec.encode(envelope.number(bytes:sub(1, 20)))
    end
    assert.equal(NODES + 1, work(outcome))
    local node, at = envelope.read(callback).node, 1
    while at <= NODES do
      local page = fcall("gather", producer, node, at, 1000)
      assert.equal(NODES, page[1])
      for i = 2, #page do
        assert.equal("S" .. core.codec.encode(at), page[i])
        at = at + 1
      end
    end
    fcall("flow_look", producer, "c", 1, 10000)
    assert.equal(0, r.flow:info().left)
    assert_short()
  end)

  it("is short when a chord is revoked", function()
    local r = send_chord()
    fcall("register", WID, LEASE_MS, "", "default")
    local held = fetch()
    local reply
    repeat -- until all members are ready
      reply = fcall("promote", 1)
    until reply[2] == 0
    assert.same({ "revoked" }, fcall("revoke", REVOKED, 60, "c", r.flow.id))
    repeat
      assert.same({}, (fetch()))
    until r.flow:info().left == #held
    for _, bytes in ipairs(held) do
      assert.equal(1, fcall("finish", WID, LEASE_MS, "h",
        envelope.field(bytes, 1))[1])
    end
    assert.equal(0, work(function() end))
    assert.equal(0, r.flow:info().left)
    assert_short()
  end)

  it("is short when what all need fails, and is done again", function()
    local list = {}
    for i = 1, NODES do
      list[i] = s("step")
    end
    local r = te.chain(list)()
    fcall("register", WID, LEASE_MS, "", "default")
    assert.equal(1, work(function()
      return FAILED
    end))
    assert.equal(0, r.flow:info().left)
    assert.equal("retried", fcall("flow_retry", r.id:sub(1, 12)))
    local envelopes, is_more
    local count = 0
    repeat
      envelopes, is_more = fetch()
      count = count + #envelopes
    until not is_more
    assert.equal(1, count)
    assert.equal(NODES, r.flow:info().left)
    assert_short()
  end)
end)
