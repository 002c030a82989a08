--- Every example is run as its first lines say.

local core = require("taskengine.core")
local program = require("spec.support.program")

local FOLDER <const> = core.sys.realpath("examples")

describe("the example", function()
  local place = program.for_each_spec()

  -- In the three ways that there are: `run`; plain Lua with a worker
  -- elsewhere, or without one.
  local function run(name, ...)
    return place:run { "run", "-P", "2", FOLDER .. "/" .. name, ... }
  end

  local function run_plain(name, ...)
    return place:run({ FOLDER .. "/" .. name, ... }, { program = "lua5.4" })
  end

  local function assert_settings(ended)
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    assert.matches("\nresult_expires    3600\n", ended.stdout)
    assert.matches("\ntimezone          Europe/Paris\n", ended.stdout)
    assert.matches("\nRedis answers: UNKNOWN\n$", ended.stdout)
  end

  it("10_configuration has its settings, and a Redis", function()
    assert_settings(run("10_configuration.lua"))
    assert_settings(run_plain("10_configuration.lua"))
  end)

  local FIRST_TASK <const> = "^Task: %w+\nResult: 10\nTask sent: %w+\n"
    .. "Something else: 3\nResult: Task finished after 0.1 s\n$"

  it("11_first_task runs with a worker of its own", function()
    local ended = run("11_first_task.lua", "0.1")
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    assert.matches(FIRST_TASK, ended.stdout)
  end)

  it("11_first_task runs in plain Lua, with a worker elsewhere", function()
    local worker = place:worker { FOLDER .. "/11_first_task.lua" }
    local ended = run_plain("11_first_task.lua", "0.1")
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    assert.matches(FIRST_TASK, ended.stdout)
    assert.equal("10\n",
      place:run({ "call", "addition", "[4, 6]", "--wait" }).stdout)
    worker:kill("TERM")
    assert.equal(0, worker:wait().code)
  end)

  describe("12_retries", function()
    local function assert_printed(text, chance)
      local ended = run("12_retries.lua", "0.01", chance)
      assert.same({ 0, text }, { ended.code, ended.stdout })
      return ended.stderr
    end

    it("has its results when nothing fails", function()
      assert.equal("", assert_printed("unstable: 8\nalso_unstable: 8\n", "0"))
    end)

    it("gives up after three retries when all do", function()
      local log = assert_printed("unstable gave up: Unlucky: a random error\n"
        .. "also_unstable gave up: MaxRetriesExceeded: failed 4 times, the last"
        .. " time with Unlucky: a random error\n", "1")
      local retried = 0
      for name in log:gmatch("(%S+)%[%w+%] failed in [^\n]* runs again in ") do
        retried = retried + (name == "unstable" and 1 or 100)
      end
      assert.equal(303, retried)
    end)
  end)

  -- With a worker of its own, and in plain Lua with a worker elsewhere.
  local function assert_both_print(name, text)
    local ended = run(name)
    assert.same({ 0, text }, { ended.code, ended.stdout })
    local log = ended.stderr
    local worker = place:worker { FOLDER .. "/" .. name }
    ended = run_plain(name)
    assert.same({ 0, text, "" }, { ended.code, ended.stdout, ended.stderr })
    worker:kill("TERM")
    assert.equal(0, worker:wait().code)
    return log
  end

  it("13_chains adds up, and tells what broke a chain", function()
    local log = assert_both_print("13_chains.lua", "Chain: 25\nWith |: 25\n"
      .. "Succeeded: false\nCause: division by zero\nImmutable: 3\n")
    local _, count = log:gsub("the chain broke: division by zero", "")
    assert.equal(1, count)
  end)

  it("14_groups has its results in order", function()
    assert_both_print("14_groups.lua", "Group: 4, 8, 16\nCompleted: 3\n"
      .. "One by one: 28\nChord: 28\nWith |: 28\n"
      .. "Chunks: 3, the last one: 18, 20\nFlow: 10\n")
  end)
end)
