local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local TASKS <const> = chaos.size(10000, 100000)
local LOT <const> = 500
-- So many at a time are kept of what is malformed, and of the dead.
local KEPT_MAX <const>, DEAD_MAX <const> = 10000, 10000
local ENOUGH <const> = KEPT_MAX - 4 * LOT
local BODY <const> = "\x91\x92\x01\xa5hello" -- [[1, "hello"]]
-- Where what is in no ready list ends up.
local COUNTERS <const> = { "done", "failed", "revoked", "expired" }

-- Bytes that are no task, or not quite.
local function random_bytes(count)
  local bytes = {}
  for i = 1, count do
    bytes[i] = string.char(math.random(0, 255))
  end
  return table.concat(bytes)
end

local function splice(bytes, at, piece)
  return bytes:sub(1, at - 1) .. piece .. bytes:sub(at + #piece)
end

local function flip(bytes)
  local at = math.random(#bytes)
  return splice(bytes, at,
    string.char(bytes:byte(at) ~ 1 << math.random(0, 7)))
end

local DAMAGES <const> = {
  function() return random_bytes(math.random(0, 300)) end,
  function(bytes) return bytes:sub(1, math.random(0, #bytes - 1)) end,
  flip,
  function(bytes)
    for _ = 1, math.random(2, 8) do
      bytes = flip(bytes)
    end
    return bytes
  end,
  function(bytes) return splice(bytes, 21, "\x09") end, -- too new
  function(bytes) return splice(bytes, 21, "\x00") end,
  function(bytes) return splice(bytes, 99, random_bytes(4)) end, -- lengths
  function(bytes) return bytes:sub(1, -#BODY - 1) .. random_bytes(9) end,
}

-- As te1_enqueue does with one that is sound, for a worker that sleeps.
-- P, wid, id, bytes -> 0 when it does not take any now
local HAND_OVER <const> = [[
  local P, wid, id, bytes = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
  if redis.call("EXISTS", P .. "b:" .. wid) == 1
    or redis.call("HEXISTS", P .. "hn", wid) == 0 then
    return 0
  end
  local number = struct.pack(">I4", redis.call("HINCRBY", P .. "hn", wid, 1))
  redis.call("HSET", P .. "f:" .. wid, id .. number, bytes)
  return redis.call("RPUSH", P .. "b:" .. wid, "!" .. number .. bytes)
]]

describe("Redis with what is no task among the tasks", function()
  local run
  local put -- the damaged ones, as they came
  local taken -- that stay among the dead: another has their id
  local kept -- what was malformed, and how many

  before_each(function()
    run = chaos.run { processes = 2 }
    put, taken, kept = {}, 0, { count = 0 }
  end)

  after_each(function()
    run:close()
  end)

  local function fcall(name, ...)
    return run.site:fcall(name, ...)
  end

  -- Among those that wait for their turn.
  local function put_ready(_, bytes)
    run.site:key("RPUSH", "r:default", bytes)
  end

  local function put_by_id(set, id, bytes, score)
    run.site:key("HSET", "t", id, bytes)
    run.site:key("ZADD", set, score or math.random(0, 10), id)
  end

  local function put_urgent(id, bytes)
    put_by_id("p:default", id, bytes)
  end

  local function put_due(id, bytes)
    put_by_id("z", id, bytes)
  end

  -- Among the dead, from where somebody takes it.
  local function put_dead(id, bytes)
    run.site:key("HSET", "e", id, "F\x80")
    put_by_id("x", id, bytes, math.floor(te.now() * 1000))
    taken = taken + (fcall("requeue", id, "")[1] == "taken" and 1 or 0)
  end

  -- In flight at a worker that is lost.
  local function put_in_flight(id, bytes)
    local wid = core.envelope.new_producer()
    fcall("register", wid, 60000, "", "nothing")
    run.site:key("HSET", "f:" .. wid, envelope.field(id, 1), bytes)
    assert.equal(1, fcall("reap", wid, "1", "F\x80", "-"))
  end

  -- On its way to a worker that lives, straight into its bell.
  local function hand_over(id, bytes)
    local wid = chaos.pick(run.site:wids())
    if run.site:call("EVAL", HAND_OVER, 1, workers.PREFIX, wid, id, bytes) == 0
    then
      put_ready(id, bytes)
    end
  end

  local PLACES <const> = {
    put_ready, put_urgent, put_due, put_dead, put_in_flight, hand_over,
  }

  local function put_damaged(count)
    for _ = 1, count do
      -- No bit that flips makes one of another.
      local id = envelope.id(core.envelope.new_producer(), 1)
      local bytes = chaos.pick(DAMAGES)(envelope.new {
        id = id, name = "nothing", body = BODY,
      })
      put[bytes] = true
      chaos.pick(PLACES)(id, bytes)
    end
  end

  -- Somebody looks through what is malformed, when there are so many.
  local function collect(enough)
    if run.site:key("LLEN", "m") < enough then
      return
    end
    run.site:key("RENAME", "m", workers.PREFIX .. "collected")
    for _, bytes in ipairs(run.site:key("LRANGE", "collected", 0, -1)) do
      kept.count = kept.count + 1
      kept[kept.count] = bytes
    end
    run.site:key("DEL", "collected")
  end

  local function sum_of(pattern, count)
    local sum = 0
    for _, key in ipairs(run.site:call("KEYS", workers.PREFIX .. pattern)) do
      sum = sum + count(key:sub(#workers.PREFIX + 1))
    end
    return sum
  end

  local function count_in_flight()
    return sum_of("f:*", function(key)
      return run.site:key("HLEN", key)
    end)
  end

  -- How many tasks and what is none are where. Some are left in a queue: for
  -- a newer version, or in one that no worker serves.
  local function account()
    local found = { malformed = kept.count + run.site:key("LLEN", "m") }
    for _, name in ipairs(COUNTERS) do
      found[name] = sum_of("s:*", function(key)
        return tonumber(run.site:key("HGET", key, name) or 0)
      end)
    end
    found.left = taken + run.site:key("HLEN", "t") - run.site:key("ZCARD", "x")
      + sum_of("r:*", function(key)
        return run.site:key("LLEN", key)
      end)
    return found
  end

  local function sum(found)
    local n = found.malformed + found.left
    for _, name in ipairs(COUNTERS) do
      n = n + found[name]
    end
    return n
  end

  it("keeps all of it, and loses no task", function()
    run:start()
    for _ = 1, TASKS // LOT do
      put_damaged(LOT)
      run:send("work", LOT, 0.0002)
      collect(ENOUGH)
    end
    local all = 2 * run.sent
    local is_done, why = pcall(wait_until, function()
      collect(ENOUGH)
      chaos.pause(0.05, 0.05)
      return run.site:key("ZCARD", "z") == 0 and count_in_flight() == 0
        and select(2, run.ledger:starts()) >= run.sent
        and sum(account()) >= all
    end, chaos.size(60, 600), "all that was sent")
    local found = account()

    local starts = run:report("F15", 0, ("malformed=%d left=%d failed=%d"
      .. " ended otherwise=%d unaccounted=%d"):format(found.malformed,
        found.left, found.failed, found.done + found.revoked + found.expired
          - run.sent, all - sum(found)))
    assert.is_true(is_done, why)
    assert.equal(all, sum(found))
    assert.same({ 0, 0, 0 }, { starts.lost, starts.twice, starts.unexpected })
    assert.is_true(found.malformed > run.sent / 3)
    assert.is_true(found.left > 0)
    -- What failed is kept as it came: its envelope could be read.
    assert.equal(math.min(found.failed + taken, DEAD_MAX),
      run.site:key("ZCARD", "x"))
    assert.is_nil(run.worker.ended)
    local shown = run.site.place:run { "status" }
    assert.same({ 0, "" }, { shown.code, shown.stderr })
    assert.matches("malformed " .. found.malformed - kept.count, shown.stdout)
    collect(1)
    assert.equal(found.malformed, kept.count)
    for _, bytes in ipairs(kept) do
      assert.is_true(put[bytes], "not as it came: " .. ("%q"):format(bytes))
    end
    assert.equal(0, run:stop().code)
  end)

  -- Everything that is read by a worker, a client, a command.
  local function litter()
    local site = run.site
    local wid = site:wids()[1]
    site:key("RPUSH", "b:" .. wid, "junk", random_bytes(100))
    site:key("HSET", "f:" .. wid, "junk", "junk", random_bytes(24), "junk")
    site:key("HSET", "wi", wid, random_bytes(50))
    site:key("ZADD", "w", "-inf", "junk", "inf", random_bytes(12))
    site:key("HSET", "wq", "junk", random_bytes(50))
    site:key("SADD", "q", "junk", random_bytes(50), "broken")
    site:key("SADD", "sl:default", "junk", random_bytes(12))
    site:key("SADD", "ws:default", "junk")
    site:key("ZADD", "x", 0, "junk")
    site:key("HSET", "e", "junk", random_bytes(50))
    site:key("HSET", "y", random_bytes(20), random_bytes(50))
    site:key("HSET", "n", "seq", "junk", "head", "1e400", "timer", "junk")
    site:key("HSET", "s:default", "enqueued", "junk")
    site:key("SET", "cx", "junk")
    site:key("SET", "r:broken", "junk")
    site:key("SADD", "p:broken", "junk")
    site:key("SET", "s:broken", "junk")
    site:key("SET", "sl:broken", "junk")
    site:key("SET", "ws:broken", "junk")
    site:key("DEL", "yt")
    site:key("RPUSH", "yt", "junk")
    site:call("SET", workers.PREFIX .. "no key of ours", "junk")
    site:call("SET", "te:{default.0}", "junk")
  end

  it("goes on with keys of other types and foreign ones", function()
    run.site:start({ "-P", "1", "-Q", "broken,default" }, { file = "ledger" })
    run:start()
    local known = run.site:send("nothing")
    known:get { timeout = 20 }
    run.site:key("HSET", "v:" .. known.id:sub(1, 19), known.id:sub(20), "junk")
    run:send("work", TASKS, 0.0002)
    litter()
    run:finish()

    local found = run:report("F15, keys", 0)
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.equal(TASKS + 1, found.done)
    local r = run.site.app:send_task("nothing", {}, { queue = "broken" })
    assert.is_nil(r:get { timeout = 20 })
    assert.equal(1, run.site:count("done", "broken"))
    for _, words in ipairs { { "status" }, { "result", r.id },
      { "call", "nothing", "--wait" } } do
      local ended = run.site.place:run(words)
      assert.same({ 0, "" }, { ended.code, ended.stderr })
    end
    local ended = run.site.place:run { "result", known.id }
    assert.equal(1, ended.code)
    assert.matches("Malformed: its outcome cannot be read", ended.stderr)
    -- Foreign keys stay; those in the place of ours are where this says.
    assert.equal("junk", run.site:key("GET", "no key of ours"))
    local lines = table.concat(run.site:key("LRANGE", "m", 0, -1), "\n")
    local place = lines:match("r:broken was a string: it is now (%S+)")
    assert.equal("junk", run.site:call("GET", place))
    assert.equal(0, run:stop().code)
  end)
end)
