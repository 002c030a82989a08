--- What a task takes from others in its flow, when that is gone.

local canvas_site = require("spec.support.canvas_site")
local te = require("taskengine")

local MEMBERS <const> = 199 -- more than travel with a task
local SOON <const> = 20

describe("taskengine.inputs", function()
  local site = canvas_site.for_each_spec()

  -- Runs a chord in front of whose end the outcome of its first member is
  -- deleted. Returns its result.
  local function run_without_first(join)
    local add, r = site:tasks(), nil
    local wipe = site.app:task("wipe", function()
      while r.flow:ended { { first = 1, last = MEMBERS } } < MEMBERS do
        te.sleep(0.001)
      end
      local id = r.flow:node_id(1)
      return site.shard:redis("HDEL", "v:" .. id:sub(1, 19), id:sub(20))
    end)
    local list = {}
    for i = 1, MEMBERS do
      list[i] = add:s(i, i)
    end
    list[MEMBERS + 1] = wipe:s()
    r = te.chord(list, join:s())()
    return r
  end

  local function assert_forgotten(r)
    local ok, e = r:wait(SOON)
    assert.same({ false, "Forgotten" }, { ok, e.kind })
    assert.matches(("the result of task %s, which it needs, is gone$"):format(
      r.flow:node_id(1)), e.message)
  end

  it("fails a task that takes what somebody has deleted", function()
    local has_begun = false
    assert_forgotten(run_without_first(site.app:task("join", function()
      has_begun = true
    end)))
    assert.is_false(has_begun)
  end)

  it("does not run that again, which would bring nothing back", function()
    assert_forgotten(run_without_first(site.app:task("join",
      { autoretry_for = true, retry_delay = 0 }, print)))
  end)

  it("fails one that reads it while it runs", function()
    assert_forgotten(run_without_first(site.app:task("join",
      { stream = true }, function(parts)
        for _ in parts do -- luacheck: ignore 542
        end
      end)))
  end)

  it("reads all for a task that is called for each, streamed or not", function()
    local add = site:tasks()
    local twice = site.app:task("twice", { stream = true }, function(x)
      return 2 * x
    end)
    local list = {}
    for i = 1, MEMBERS do
      list[i] = add:s(i, 0)
    end
    local values = (te.group(list) | twice:map())():get { timeout = SOON }
    assert.same({ 2, 2 * MEMBERS, MEMBERS },
      { values[1], values[MEMBERS], #values })
  end)
end)
