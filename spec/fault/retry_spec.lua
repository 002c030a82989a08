local chaos = require("spec.support.chaos")
local envelope = require("spec.support.envelope")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("A retry", function()
  local site = workers.for_each_spec {} -- each with its own Redis

  local function start(processes)
    return site:worker({ "-P", processes, "-l", "warn" },
      { file = "retries" })
  end

  local function kill(worker)
    local children = workers.children(worker)
    workers.kill(worker.pid)
    worker:wait()
    workers.wait_gone(children, 1)
  end

  -- How often each attempt of each task was begun.
  local function attempts()
    local begun = {}
    for _, line in ipairs(site:lines("notes")) do
      begun[line] = (begun[line] or 0) + 1
    end
    return begun
  end

  it("is made once for each attempt, whoever is killed", function()
    math.randomseed(chaos.SEED)
    local count, processes, retries = chaos.size(400, 5000), 2, 2
    local list = {}
    for i = 1, count do
      list[i] = { "notes", retries, math.random() < 0.5 and 0 or 0.02 }
    end
    local sent = site.app:enqueue_many("asks", list)
    local kills = 0
    local worker
    repeat
      worker = site:start({ "-P", processes, "-l", "warn" },
        { file = "retries" })
      wait_until(function()
        return #site:lines("notes") > 0
      end)
      chaos.pause(0.05, 0.2)
      local child = chaos.pick(workers.children(worker))
      if child then
        workers.kill(child)
        kills = kills + 1
      end
      chaos.pause(0.05, 0.2)
      local is_done = site:count("done") + site:count("failed") == count
      if not is_done then
        kill(worker)
        kills = kills + 1
      end
    until is_done or kills >= chaos.size(20, 200)
    if worker.ended then
      worker = start(processes)
    end
    for _, result in ipairs(sent) do
      assert.equal(retries, result:get { timeout = 60 })
    end
    local begun, twice = attempts(), 0
    for _, result in ipairs(sent) do
      for attempt = 0, retries do
        local times = begun[("%s %d"):format(result.id, attempt)]
        assert.is_true(times ~= nil, "an attempt was not made")
        twice = twice + times - 1
      end
    end
    local bound = kills * processes
    io.write(("[TE_SEED=%d n=%d kills=%d dup=%d bound=%d]"):format(chaos.SEED,
      count, kills, twice, bound))
    assert.is_true(twice <= bound)
    assert.same({ retries * count, count, 0 }, { site:count("retried"),
      site:count("done"), site:count("failed") })
    assert.equal(0, site:stop(worker).code)
  end)

  -- A task says that it is to run again while Redis hangs.
  local function ask_in_vain(how, is_said)
    local worker = site:worker({ "-P", "1" }, { file = "retries" })
    local r = site:send("asks_then", "notes", "go", how)
    site:wait_lines("notes", 1)
    site.server:kill("STOP")
    site.place:write("go", "")
    worker:heard("stderr", is_said .. "[^\n]* runs again in 60.000 s")
    return worker, r.id
  end

  -- What Redis has of it when an heir was there, that runs nothing.
  local function place_of(id)
    site.server:kill("CONT")
    site:worker { "-P", "1", "-Q", "other" }
    wait_until(function()
      return site:key("ZSCORE", "z", id)
    end)
    local parts = envelope.read(site:key("HGET", "t", id))
    return { parts.attempt, parts.deaths, parts.reaps,
      site:key("LLEN", "h:" .. id), #site:lines("notes") }
  end

  it("is told by an heir when its worker was killed", function()
    local worker, id = ask_in_vain("retry", "failed")
    kill(worker)
    assert.same({ 1, 0, 0, 1, 1 }, place_of(id))
  end)

  it("is told by an heir when its worker could not stop in order", function()
    local worker, id = ask_in_vain("retry", "failed")
    assert.equal(3, site:stop(worker).code)
    assert.same({ 1, 0, 0, 1, 1 }, place_of(id))
  end)

  it("that counts nothing does not because of an heir, either", function()
    local worker, id = ask_in_vain("snooze", "put off")
    kill(worker)
    assert.same({ 0, 0, 0, 0, 1 }, place_of(id))
  end)
end)
