--- Flows that go on longer than anything is kept, while what is kept of other
-- tasks expires or is deleted.

local chaos = require("spec.support.chaos")
local flow_watch = require("spec.support.flow_watch")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local FLOWS <const> = chaos.size(100, 1000)
local OTHERS <const> = 100
local KEPT_S <const> = 1
-- Nobody serves this queue at first.
local LATER <const> = "later"

describe("Live flows", function()
  local function s(run, name, ...)
    return run.site.app:signature(name, table.pack(...))
  end

  -- Each has a member that is done, one that has sent a task, and one that
  -- waits. Returns their producers.
  local function send_flows(run)
    local producers = {}
    for i = 1, FLOWS do
      local r = te.chord({
        s(run, "same", i), s(run, "send_another", 0),
        s(run, "same", 0):set { queue = LATER },
      }, s(run, "note_sum", run.ledger.path))()
      producers[r.flow.id:sub(1, 12)] = true
    end
    run.sent = FLOWS
    return producers
  end

  local function count_done(run)
    return run.site:count("done")
  end

  -- Runs other tasks, until what was kept of them has expired.
  local function outlive_others(run)
    local all, before = {}, count_done(run)
    for i = 1, OTHERS do
      all[i] = run.site:send("same", i)
    end
    wait_until(function()
      return count_done(run) == before + OTHERS
    end, 60, "other tasks")
    wait_until(function()
      for i = 1, OTHERS do
        if run.site:key("EXISTS", "v:" .. all[i].id:sub(1, 19)) == 1 then
          return false
        end
      end
      return true
    end, 60, "the end of outcomes")
  end

  -- Deletes all that is kept of other tasks, and all inboxes.
  local function delete_others(run, producers)
    local site = run.site
    for _, key in ipairs(site:call("KEYS", workers.PREFIX .. "[vahm]:*")) do
      local producer = key:sub(#workers.PREFIX + 1):match("^%a:(.*)$")
      if not producers[producer:sub(1, 12)] then
        site:call("DEL", key)
      end
    end
  end

  -- What is kept of the flows, and how much of that may expire.
  local function count_mortal(run, producers)
    local names, mortal = flow_watch.keys(run.site, producers), {}
    for _, name in ipairs(names) do
      if run.site:key("PTTL", name) ~= -1 then
        mortal[#mortal + 1] = name
      end
    end
    return #names, mortal
  end

  it("keep what they need, and when they end leave nothing", function()
    local run <close> = chaos.run()
    run.site.app:configure { result_expires = KEPT_S }
    run:start()
    local producers = send_flows(run)
    wait_until(function()
      return count_done(run) >= 3 * FLOWS -- and what a member has sent
    end, 120, "the first members")
    outlive_others(run)
    delete_others(run, producers)
    local kept, mortal = count_mortal(run, producers)
    assert.is_true(kept >= 5 * FLOWS)
    assert.same({}, mortal)

    local later = run.site:start({ "-P", "1", "-Q", LATER },
      { file = "ledger" })
    wait_until(function()
      return count_done(run) >= 4 * FLOWS + OTHERS
    end, 120, "the end of the flows")
    local found = run:report("F32", 0)
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.equal(0, run.site:count("failed"))

    -- Only that there were such is remembered for a week.
    wait_until(function()
      kept, mortal = count_mortal(run, producers)
      return kept == FLOWS and run.site:key("EXISTS", "gx") == 0
    end, 300, "the end of what is kept of flows that have ended")
    assert.equal(FLOWS, #mortal)
    assert.equal(0, run.site:stop(later).code)
    assert.same({}, run:stop().left)
  end)
end)
