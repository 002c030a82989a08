-- Workflows under `taskengine run`: what it does for plain tasks, it does for
-- these.

local scripts = require("spec.support.scripts")
local wait_until = require("spec.support.wait").wait_until

-- Its first argument says what is sent.
local SCRIPT <const> = [[
local te = require("taskengine")
local core = require("taskengine.core")
local app = te.app("flows")
local gate = app:task("gate", function(file)
  while not core.sys.stat(file) do te.sleep(0.01) end
end)
local echo = app:task("echo", function(...) return ... end)
local what = {}

local function many(one, count)
  local list = {}
  for i = 1, count do list[i] = one end
  return te.group(list)
end
local function show(id)
  print(id)
  io.stdout:flush()
end

function what.chord(count)
  local result = te.chord(many(gate:si("gate"), count),
    echo:si():on_error(echo:si()))()
  show(result.id)
  result:wait()
end
function what.chain(count)
  local steps = { gate:si("gate") }
  for i = 2, count do steps[i] = echo:si(i) end
  local result = te.chain(steps)()
  show(result.id)
  result:wait()
end
local send = app:task("send", function()
  return (echo:si():set { countdown = 100 } | echo:si())().id
end)
function what.inside()
  show(send:delay():get())
  gate:delay("gate"):get()
end
function what.left(count)
  te.chord(many(echo:si():set { countdown = 100 }, count), echo:si())()
end
function what.read(count)
  for _ = 1, 2 do
    for result in many(echo:si(1), count)():iter() do result:get() end
    many(echo:si(1), count)():get()
    te.chain(echo:si(1), echo:si(2))():get()
  end
  echo:apply_async({}, { countdown = 100 })
end
function what.queue()
  te.chain(echo:si(1), many(echo:si():set { queue = "nobody" }, 2))():wait(0.1)
end
function what.portions(count)
  local class = getmetatable(require("taskengine.requests").new({}))
  local send, portions = class.send, 0
  function class:send(name, args, ...)
    send(self, name, args, ...)
    portions = portions + (name == "te1_flow" and 1 or 0)
    if name == "te1_flow" and portions == 2 then
      show(core.envelope.id(args[1], 0))
      os.execute("kill -TERM $PPID")
    end
  end
  many(echo:si(), count)()
end

app:main(function(args)
  if args[1] then what[args[1] ](tonumber(args[2])) end
end)
]]

describe("A workflow under taskengine run", function()
  local site = scripts.for_each_spec()

  before_each(function()
    site.place:write("script.lua", SCRIPT)
  end)

  local function is_running()
    return site.place:run({ "status", "--json", "-b", site:broker() })
      .stdout:find('"in_flight":1')
  end

  -- Runs until something of it is in its worker's hands, and interrupts it.
  -- Returns the id that it has shown.
  local function interrupt(signal, ...)
    local process = site:start(...)
    local id = process:heard("stdout", "(%w+)\n"):match("%w+")
    wait_until(is_running)
    process:kill(signal)
    process:heard("stderr", "interrupted[^\n]*\n")
    return process, id
  end

  local function open_the_gate(process)
    site.place:write("gate", "")
    return process:wait()
  end

  local REVOKING <const> = "^taskengine: interrupted: revoking what has not"
    .. " started; again to end at once\ntaskengine: (%d+) revoked, (%d)"
    .. " running\n$"

  -- What is there for failures does not count. Of those that are ready one may
  -- be in the worker's hands besides the one that runs.
  for what, total in pairs { chord = 21, chain = 1500 } do
    it("is revoked at Ctrl-C, but for what runs: a " .. what, function()
      local process, id = interrupt("INT", "script.lua", what,
        tostring(what == "chord" and total - 1 or total))
      process:heard("stderr", "%d revoked")
      local ended = open_the_gate(process)
      assert.equal(130, ended.code)
      local revoked, running = ended.stderr:match(REVOKING)
      assert(revoked, ended.stderr)
      assert.equal(total, revoked + running)
      assert.is_true(running == "1" or running == "2" and what == "chord")
      assert.equal("REVOKED", site:state_of(id))
      -- Those that were ready still stand in the queue.
      assert.equal("", site:run("script.lua").stderr)
    end)
  end

  it("is revoked at the first SIGTERM and SIGHUP, too", function()
    for signal, code in pairs { TERM = 143, HUP = 129 } do
      local process, id = interrupt(signal, "script.lua", "chain", "3")
      process:heard("stderr", "%d revoked")
      local ended = open_the_gate(process)
      os.remove(site.place.dir .. "/gate")
      assert.equal(code, ended.code)
      assert.equal("2", (ended.stderr:match(REVOKING)))
      assert.equal("REVOKED", site:state_of(id))
    end
  end)

  it("is dropped when SIGTERM comes while it is sent", function()
    local ended = site:run("script.lua", "portions", "10000")
    assert.equal(143, ended.code)
    assert.matches("revoking", ended.stderr)
    local shown = site.place:run { "flow", ended.stdout:match("%w+"), "-b",
      site:broker() }
    assert.matches("nothing is known of a flow", shown.stderr, 1, true)
  end)

  it("stays with --detach: the next run goes on with it", function()
    local process, id = interrupt("INT", "--detach", "script.lua", "chain",
      "3")
    local ended = open_the_gate(process)
    assert.equal("taskengine: interrupted; what has not started stays in "
      .. site:broker() .. "\n", ended.stderr)
    assert.equal(0, site:run("script.lua", "chain", "5").code)
    assert.equal("SUCCESS", site:state_of(id))
  end)

  it("is none of the script's when one of its tasks has sent it", function()
    local process, id = interrupt("INT", "script.lua", "inside")
    process:heard("stderr", "taskengine: 0 revoked, 1 running\n")
    open_the_gate(process)
    assert.equal("PENDING", site:state_of(id))
  end)

  it("is counted when the main ends before it, with all that waits", function()
    local ended = site:run("script.lua", "left", "20")
    assert.same({ 0, "taskengine: 21 tasks that were sent have not ended;"
      .. " they stay in " .. site:broker() .. " and run with the next worker"
      .. " there\n" }, { ended.code, ended.stderr })
  end)

  it("is none of what is left when it has ended, however that is read",
    function()
      local broker = "embedded://shared"
      for _ = 1, 5 do -- of somebody else
        site.place:run { "call", "echo", "[]", "--queue", "other", "-b",
          broker }
      end
      local ended = site:run("-b", broker, "script.lua", "read", "50")
      assert.same({ 0, "taskengine: up to 1 task that was sent has not ended;"
        .. " it stays in embedded://shared and runs with the next worker"
        .. " there\n" }, { ended.code, ended.stderr })
    end)

  it("has its queues named that nobody serves", function()
    local ended = site:run("script.lua", "queue")
    assert.equal(0, ended.code)
    assert.matches("^taskengine: no worker serves the queue nobody now: what is"
      .. " sent there waits\n", ended.stderr)
    assert.not_matches("the queue default", ended.stderr, 1, true)
  end)
end)
