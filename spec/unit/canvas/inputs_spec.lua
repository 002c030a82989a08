--- What a task takes from others in its flow, when that is gone.

local canvas_site = require("spec.support.canvas_site")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local MEMBERS <const> = 199 -- more than travel with a task
local SOON <const> = 20

describe("taskengine.inputs", function()
  local site = canvas_site.for_each_spec()

  -- Runs a chord in front of whose end a command has changed the outcome of its
  -- first member. Returns its result.
  local function run_changed(join, command, ...)
    local add, list = site:tasks(), {}
    for i = 1, MEMBERS do
      list[i] = add:s(i, i)
    end
    -- The worker leaves its queue alone: the spec ends it, as the last one.
    list[MEMBERS + 1] = add:s(0, 0):set { queue = "elsewhere" }
    local r = te.chord(list, join:s())()
    wait_until(function()
      return r.flow:ended { { first = 1, last = MEMBERS } } == MEMBERS
    end, SOON, "the members")
    local id = r.flow:node_id(1)
    assert.equal(1,
      site.shard:redis("HEXISTS", "v:" .. id:sub(1, 19), id:sub(20)))
    site.shard:redis(command, "v:" .. id:sub(1, 19), id:sub(20), ...)
    site:finish(site.shard:take("w1", 1, { queues = { "elsewhere" } })[1],
      "S\x00")
    return r
  end

  local function run_without_first(join)
    return run_changed(join, "HDEL")
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

  it("fails one that takes what somebody has damaged, at once", function()
    local has_begun = false
    local join = site.app:task("join", { autoretry_for = true }, function()
      has_begun = true
    end)
    local ok, e = run_changed(join, "HSET", "S\xc1"):wait(SOON)
    assert.same({ false, "Malformed", "a result that it needs cannot be read" },
      { ok, e.kind, e.message })
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

  describe("where a policy says what a failure means", function()
    local add, note, r, _

    before_each(function()
      add, _, _, note = site:tasks()
      r = nil
    end)

    -- What a node gets, by a policy, of one in which the outcome of the first
    -- task is deleted; and the id of that task.
    local function get_over(policy, source)
      local wipe = site.app:task("wipe", function()
        while not r do
          te.sleep(0.001)
        end
        local id = r.flow:node_id(1)
        return site.shard:redis("HDEL", "v:" .. id:sub(1, 19), id:sub(20))
      end)
      r = te.flow { nodes = {
        a = { source },
        b = { wipe:si(), after = { "a" } },
        c = { note:s(), after = { "b", a = policy } },
      } }()
      assert.same({ c = 2 }, r:get { timeout = SOON })
      local deleted, got = table.unpack(site.noted[1], 1, 2)
      assert.equal(1, deleted)
      return got, r.flow:node_id(1)
    end

    local function group()
      local list = {}
      for i = 1, MEMBERS do
        list[i] = add:s(i, i)
      end
      return te.group(list)
    end

    it("hands on, for continue, that it is gone", function()
      local e, id = get_over("continue", add:s(1, 2))
      assert.same({ "Forgotten", id }, { e.kind, e.id })
    end)

    it("hands on, for continue, that one of a group is gone", function()
      local e, id = get_over("continue", group())
      assert.equal("Forgotten", e.kind)
      assert.matches(("the result of task %s, which it needs, is gone"):format(
        id), e.message, 1, true)
    end)

    it("streams a group to a task that wants it, small or large", function()
      local total = site.app:task("total", { stream = true }, function(parts)
        local sum = 0
        for i, value in parts do
          sum = sum + i * value
        end
        return { sum, #parts }
      end)
      local small = te.group { add:s(3, 4), add:s(1, 1) }
      for _, policy in ipairs { "continue", "ignore" } do
        local values = te.flow { nodes = {
          a = { small }, b = { group() },
          c = { total:s(), after = { a = policy } },
          d = { total:s(), after = { b = policy } },
        } }():get { timeout = SOON }
        assert.same({ c = { 11, 2 }, d = { 5293400, MEMBERS } }, values)
      end
    end)

    it("streams no error", function()
      local values = te.flow { nodes = {
        a = { te.group { add:s("a", 1), add:s(1, 1) } },
        b = { site.app:task("kind", { stream = true }, function(e)
          return e.kind
        end):s(), after = { a = "continue" } },
      } }():get { timeout = SOON }
      assert.same({ b = "Error" }, values)
    end)

    it("gives nil for ignore", function()
      assert.is_nil((get_over("ignore", add:s(1, 2))))
    end)

    it("gives nil, for ignore, of a group of which one is gone", function()
      assert.is_nil((get_over("ignore", group())))
    end)
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
