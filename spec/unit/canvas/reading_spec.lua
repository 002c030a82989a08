--- A task of a flow whose time is over, or that is revoked, while it reads what
-- it takes from others.

local canvas_site = require("spec.support.canvas_site")
local core = require("taskengine.core")
local limits = require("taskengine.limits")
local record = require("taskengine.record")
local scheduler = require("taskengine.scheduler")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

-- More than travel with a task, and more bytes than a page has.
local MEMBERS <const>, BYTES <const> = 130, 9000
local SOON <const> = 20

describe("A task that reads its inputs", function()
  local site = canvas_site.for_each_spec()
  local has_begun

  before_each(function()
    assert(limits.install(nil, {}))
    has_begun = false
  end)

  after_each(function()
    scheduler.before_wait(nil)
    scheduler.on_run(nil)
    scheduler.on_park(nil)
    core.guard.alarm(0)
  end)

  -- Keeps calls that read inputs from Redis, until they are let go.
  local function hold_reads()
    local transport, held = site.transport, {}
    local fcall = transport.fcall
    function transport:fcall(name, ...)
      local args = table.pack(self, name, ...)
      if name == "te1_gather" and not held.is_over then
        held[#held + 1] = function()
          fcall(table.unpack(args, 1, args.n))
        end
      else
        fcall(table.unpack(args, 1, args.n))
      end
    end
    return held
  end

  local function let_go(held)
    held.is_over = true
    for _, go_on in ipairs(held) do
      go_on()
    end
  end

  -- A chord whose last task reads: its result, the token of that task, and
  -- what it waits for.
  local function begin_reading(options)
    local large = site.app:task("large", { autoretry_for = true }, function()
      return ("x"):rep(BYTES)
    end)
    local join = site.app:task("join", options or {}, function()
      has_begun = true
    end)
    local held, list = hold_reads(), {}
    for i = 1, MEMBERS do
      list[i] = large:s()
    end
    local r = te.chord(list, join:s())()
    wait_until(function()
      return held[1]
    end)
    return r, next(site.running.begun), held
  end

  local function kind_of(r)
    local ok, e = r:wait(SOON)
    assert.is_false(ok)
    assert.is_false(has_begun)
    return e.kind, e
  end

  local function time_out(options)
    local r, token, held = begin_reading(options)
    site.running:cancel(token)
    let_go(held)
    return r
  end

  it("ends at its time limit", function()
    assert.equal("TimeLimitExceeded", kind_of(time_out()))
  end)

  it("ends at its time limit, also as the first in its fiber", function()
    site.running.idle = setmetatable({}, { __newindex = function() end })
    assert.equal("TimeLimitExceeded", kind_of(time_out()))
  end)

  it("is run again after its time limit, where it says so", function()
    local r = time_out { autoretry_for = true, retry_delay = 0 }
    assert.is_true((r:wait(SOON)))
    assert.is_true(has_begun)
  end)

  it("ends at its soft time limit", function()
    local r, token, held = begin_reading { soft_time_limit = 0.01 }
    local task = site.running.begun[token].task
    wait_until(function()
      return task.soft_ms and task.soft_ms <= core.loop.now()
    end)
    let_go(held)
    assert.equal("SoftTimeLimitExceeded", kind_of(r))
  end)

  it("ends as REVOKED when it is revoked", function()
    local r, token, held = begin_reading()
    site.running:revoke(token)
    let_go(held)
    local kind, e = kind_of(r)
    assert.same({ "Revoked", "revoked while it ran" }, { kind, e.message })
    assert.equal("REVOKED", r:state())
  end)

  it("fails when its flow is deleted meanwhile", function()
    local r, token, held = begin_reading()
    site.shard:redis("DEL", "g:" .. r.flow.id:sub(1, 12))
    local outcome
    local finish = site.running.done
    function site.running.done(which, bytes)
      outcome = which == token and record.read(bytes, r.id) or outcome
      finish(which, bytes)
    end
    let_go(held)
    wait_until(function()
      return outcome
    end)
    assert.is_false(has_begun)
    assert.equal("Forgotten", outcome.error.kind)
  end)

  it("says that it has begun", function()
    local said = {}
    function site.running.say(token, bytes)
      said[token] = core.codec.decode(bytes).s
    end
    local r, token, held = begin_reading { track_started = true }
    assert.equal("STARTED", said[token])
    let_go(held)
    assert.is_true((r:wait(SOON)))
  end)
end)
