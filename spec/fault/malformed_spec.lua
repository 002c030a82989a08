local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local TASKS <const> = chaos.size(3000, 100000)
local LOT <const> = 500
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

describe("Redis with what is no task among the tasks", function()
  local run

  before_each(function()
    run = chaos.run { processes = 2 }
  end)

  after_each(function()
    run:close()
  end)

  -- Into the places of tasks that wait, by chance: ready, urgent, due.
  local function put(id, bytes)
    local place = math.random(3)
    if place == 1 then
      run.site:key("RPUSH", "r:default", bytes)
    else
      run.site:key("HSET", "t", id, bytes)
      run.site:key("ZADD", place == 2 and "p:default" or "z",
        math.random(0, 10), id)
    end
  end

  local function put_damaged(count)
    for _ = 1, count do
      -- No bit that flips makes one of another.
      local id = envelope.id(core.envelope.new_producer(), 1)
      put(id, chaos.pick(DAMAGES)(envelope.new {
        id = id, name = "nothing", body = BODY,
      }))
    end
  end

  -- How many tasks and what is none are where. Some are left in a queue: for
  -- a newer version, or in one that no worker serves.
  local function account()
    local found = { malformed = run.site:key("LLEN", "m"), left = 0 }
    for _, name in ipairs(COUNTERS) do
      found[name] = run.site:count(name)
    end
    found.left = run.site:key("HLEN", "t") - run.site:key("ZCARD", "x")
    for _, queue in ipairs(run.site:key("SMEMBERS", "q")) do
      found.left = found.left + run.site:key("LLEN", "r:" .. queue)
    end
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
    end
    local all = 2 * run.sent
    local is_done, why = pcall(wait_until, function()
      return run.site:key("ZCARD", "z") == 0 and sum(account()) >= all
    end, chaos.size(20, 600), "all that was sent")
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
    assert.equal(found.failed, run.site:key("ZCARD", "x"))
    assert.is_nil(run.worker.ended)
    local shown = run.site.place:run { "status" }
    assert.same({ 0, "" }, { shown.code, shown.stderr })
    assert.matches("malformed " .. found.malformed, shown.stdout)
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
    local kept = table.concat(run.site:key("LRANGE", "m", 0, -1), "\n")
    local place = kept:match("r:broken was a string: it is now (%S+)")
    assert.equal("junk", run.site:call("GET", place))
    assert.equal(0, run:stop().code)
  end)
end)
