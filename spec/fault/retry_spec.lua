local chaos = require("spec.support.chaos")
local envelope = require("spec.support.envelope")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local RETRIES <const>, PROCESSES <const> = 2, 2

describe("A retry", function()
  local site = workers.for_each_spec {} -- each with its own Redis

  local function start()
    return site:start({ "-P", PROCESSES, "-l", "warn" },
      { file = "retries" })
  end

  local function kill(worker)
    local children = workers.children(worker)
    workers.kill(worker.pid)
    worker:wait()
    workers.wait_gone(children, 1)
  end

  -- Sends tasks that ask twice to be run again; half of them at once.
  local function send(count)
    local list = {}
    for i = 1, count do
      list[i] = { "notes", RETRIES, i % 2 * 0.02, 0.004 }
    end
    return site.app:enqueue_many("asks", list)
  end

  local function is_done(sent)
    return site:count("done") + site:count("failed") == #sent
  end

  -- Starts a worker, and kills a child of it and then itself. What the one
  -- before left may be outcomes that only have to be told.
  local function run_and_kill(sent)
    local begun = #site:lines("notes")
    local worker = start()
    wait_until(function()
      return #site:lines("notes") > begun or is_done(sent)
    end)
    chaos.pause(0, 0.1)
    workers.kill(chaos.pick(workers.children(worker)))
    chaos.pause(0, 0.1)
    kill(worker)
  end

  -- How many attempts were made more than once; that each was made is checked.
  local function count_twice(sent)
    local begun, twice = {}, 0
    for _, line in ipairs(site:lines("notes")) do
      begun[line] = (begun[line] or 0) + 1
    end
    for _, result in ipairs(sent) do
      for attempt = 0, RETRIES do
        local times = begun[("%s %d"):format(result.id, attempt)]
        assert.is_true(times ~= nil, "an attempt was not made")
        twice = twice + times - 1
      end
    end
    return twice
  end

  it("is made once for each attempt, whoever is killed", function()
    math.randomseed(chaos.SEED)
    local sent, kills = {}, 0
    while kills < chaos.size(20, 200) do
      if is_done(sent) then
        for _, result in ipairs(send(200)) do
          sent[#sent + 1] = result
        end
      end
      run_and_kill(sent)
      kills = kills + 2
    end
    local worker = start()
    for _, result in ipairs(sent) do
      assert.equal(RETRIES, result:get { timeout = 60 })
    end
    local twice, bound = count_twice(sent), kills * PROCESSES
    io.write(("[TE_SEED=%d n=%d kills=%d dup=%d bound=%d]"):format(chaos.SEED,
      #sent, kills, twice, bound))
    assert.is_true(twice <= bound)
    assert.same({ RETRIES * #sent, #sent, 0 }, { site:count("retried"),
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
