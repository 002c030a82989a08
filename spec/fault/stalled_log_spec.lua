local core = require("taskengine.core")
local program = require("spec.support.program")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local LEASE_S <const> = 1
local TASKS <const> = 300
local BYTES <const> = 10000 -- that each of them prints

describe("A worker whose log nobody reads", function()
  local site = workers.for_each_spec {} -- each with its own Redis
  local fifo

  before_each(function()
    fifo = site.dir .. "/fifo"
    assert(os.execute("mkfifo " .. fifo))
  end)

  -- Its stderr is a pipe that it could read itself, and does not.
  local function start()
    return site.place:start({ "-c", 'exec "$@" 2<>' .. fifo, "sh",
      program.PATH, "worker", site.place:write("tasks.lua", [[
        local app = require("taskengine").app("tasks")
        app:task("say", function(bytes) print(("x"):rep(bytes)) end)
      ]]), "-P", "1" },
      { program = "sh", env = { TASKENGINE_LEASE = tostring(LEASE_S) } })
  end

  local function send_all()
    local results = {}
    for i = 1, TASKS do
      results[i] = site:send("say", BYTES)
    end
    for _, result in ipairs(results) do
      result:get { timeout = 30 }
    end
  end

  it("keeps its lease and does its tasks", function()
    local worker = start()
    send_all()
    local before = site:wids()
    assert.equal(1, #before)
    -- Renewed, not only not over yet: more than a lease later.
    local began = core.sys.monotonic()
    wait_until(function()
      return core.sys.monotonic() - began > 2 * LEASE_S
    end)
    send_all()
    assert.same(before, site:wids())
    assert.equal(0, site:stop(worker).code)
    assert.same({}, site:wids())
  end)

  it("says what it left out when it is read again", function()
    local worker = start()
    send_all()
    local reader <close> = assert(io.open(fifo))
    local lines, left_out = 0, 0
    worker:kill("TERM")
    for line in reader:lines() do
      local count = line:match("warn  (%d+) log lines were left out here: ")
      left_out = left_out + tonumber(count or 0)
      lines = lines + (line:find(("x"):rep(BYTES) .. "$") and 1 or 0)
    end
    assert.is_true(left_out > 0)
    assert.is_true(lines > 0)
    assert.equal(0, worker:wait().code)
  end)
end)
