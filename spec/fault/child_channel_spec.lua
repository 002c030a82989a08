local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local program = require("spec.support.program")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local TASKS <const> = chaos.size(3000, 100000)
local ABUSES <const> = chaos.size(140, 1000)
local PROCESSES <const> = 3
local DEATHS <const> = 3 -- of one task, and it is given up
local HALF_MB <const> = 32
local LARGE_MB <const> = 15 -- a result
-- Of the master: what it keeps of a child, some of it twice.
-- ASan keeps 256 MB of what was freed, and marks each eighth byte.
local IS_ASAN <const> = (os.getenv("TE_BUILD") or ""):find("asan") ~= nil
local MASTER_MB_MAX <const> = IS_ASAN and 640 or 256
local CALLS <const> = chaos.size(200000, 2000000)

local FILE <const> = [[
local channel = require("native.channel")
local te = require("taskengine")
local app = te.app("abuse")

-- What comes of it comes while it waits.
local function idle()
  te.sleep(60)
end

app:task("write", function(bytes, times)
  for _ = 1, times or 1 do
    channel.write(bytes)
  end
  idle()
end)

app:task("write_and_end", function(bytes, padding)
  channel.write(bytes)
  channel.write(("x"):rep(padding))
  os.exit(0)
end)

app:task("close", function(first, last)
  channel.close(first, last)
  idle()
end)

-- Empties what files it finds open.
app:task("truncate", function()
  for fd = 3, 255 do
    local file = io.open("/proc/self/fd/" .. fd, "w")
    if file then
      file:close()
    end
  end
end)

app:task("fork", function(bytes, seconds)
  channel.fork(bytes, seconds)
  os.exit(0)
end)

app:task("stop", channel.stop)

app:task("outsize", function()
  local core = require("taskengine.core")
  return select(2, pcall(core.child.request, print, "te1_look",
    { ("x"):rep(64 << 20) }))
end)

-- Tells of the end of every task that any child may have.
app:task("steal", function(claims, generations)
  for claim = 0, claims do
    for generation = 0, generations do
      local token = string.pack(">I4I4", claim, generation)
      channel.write(string.pack(">s4", "W" .. token .. "\1"))
      channel.write(string.pack(">s4", "D" .. token .. "\0\0\0\1S\xa6stolen"))
    end
  end
end)

app:task("large", function(bytes)
  return ("x"):rep(bytes)
end)

-- Asks for a large result again and again, and reads no answer; but not when
-- it begins anew.
app:task("hoard", function(id, path)
  if io.open(path) then
    return "no more"
  end
  io.open(path, "w"):close()
  local args = string.pack(">s4s4", "te1_outcome", id)
  for request = 1, math.huge do
    channel.write(string.pack(">s4", "A" .. string.pack(">I4", request)
      .. args))
    local over = os.clock() + 0.1
    while os.clock() < over do
      math.random()
    end
  end
end)

-- Asks Redis for things, once a file appears, and hears no answer.
app:task("ask", function(count, path, gate)
  local file <close> = assert(io.open(path, "w"))
  while not io.open(gate) do
    te.sleep(0.01)
  end
  local args = string.pack(">s4s4", "te1_look", ("x"):rep(4000))
  for request = 1, count do
    channel.write(string.pack(">s4", "A" .. string.pack(">I4", request)
      .. args))
  end
  local said <close> = assert(io.open(path .. ".done", "w"))
  return "asked"
end)

return app
]]

local function frame(text)
  return string.pack(">s4", text)
end

-- What ends the child that says it.
local NONSENSE <const> = {
  { "write", "\xff" .. ("garbage"):rep(100) },
  { "write", string.pack(">I4", 1 << 30) },
  { "write", frame "" },
  { "write", frame "?unknown" },
  { "write", frame "Q" }, -- a master's word
  { "write", frame "H\1\x80" }, -- the second hello
  { "write", frame "D\0\0" },
  { "write", frame("W" .. ("\0"):rep(8) .. "\1more") },
  { "write_and_end", string.pack(">I4", 100), 50 },
  { "write_and_end", string.pack(">I4", 60 << 20), HALF_MB << 20 },
  { "close", 3, 3 },
  { "close", 0, 255 },
  { "fork", "", 8 },
  { "fork", frame("L" .. ("\xff"):rep(8) .. "\1flood"), 2 },
}

describe("A child that talks nonsense to its master", function()
  local run

  before_each(function()
    run = chaos.run { processes = PROCESSES }
    local site = run.site
    site.place:write("native/.keep", "")
    assert(os.execute(("${CC:-cc} -shared -fPIC $(pkg-config --cflags lua5.4)"
      .. " -o '%s/native/channel.so' spec/support/channel.c"):format(site.dir)))
    run.worker = site:worker({ site.place:write("abuse.lua", FILE), "-P",
      PROCESSES }, { file = "ledger" })
  end)

  after_each(function()
    run:close()
  end)

  local function megabytes(name)
    local file <close> = assert(io.open(
      ("/proc/%d/status"):format(run.worker.pid)))
    return tonumber(file:read("a"):match(name .. ":%s*(%d+) kB")) / 1024
  end

  -- As it was before: the same number of children, none of them a zombie.
  local function is_whole(descriptors)
    local children = run:children()
    for _, pid in ipairs(children) do
      if not program.is_alive(pid) then
        return false
      end
    end
    return #children == PROCESSES
      and workers.descriptors(run.worker.pid) == descriptors
  end

  it("gets no word out that is larger than a frame", function()
    assert.matches("larger than a request may be",
      run.site:send("outsize"):get { timeout = 60 })
  end)

  it("is killed and replaced, and no other task suffers", function()
    local descriptors = workers.descriptors(run.worker.pid)
    local results = {}
    run:send("work", TASKS // 2, 0.0005)
    for i = 1, ABUSES do
      results[i] = run.site:send(table.unpack(NONSENSE[i % #NONSENSE + 1]))
    end
    local stopped = run.site.app:send_task("stop", {}, { time_limit = 0.3 })
    run:send("work", TASKS - TASKS // 2, 0.0005)
    for i, r in ipairs(results) do
      local ok, e = r:wait(chaos.size(60, 600))
      assert.same({ i, false, "WorkerLost" }, { i, ok, ok == false and e.kind })
    end
    local ok, e = stopped:wait(60)
    assert.same({ false, "TimeLimitExceeded" }, { ok, ok == false and e.kind })
    wait_until(function()
      return run.site:count("done") >= run.sent
    end, 60, "the end of all others")

    local peak = megabytes("VmHWM")
    local found = run:report("F31", 0, ("abuses=%d peak=%.0fMB"):format(ABUSES,
      peak))
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.equal(run.sent, found.done)
    assert.equal(DEATHS * ABUSES, run.site:count("lost"))
    assert.is_true(peak < MASTER_MB_MAX)
    wait_until(function()
      return is_whole(descriptors)
    end, 30, "all children, and no descriptor more than before")
    assert.equal(0, run:stop().code)
  end)

  it("ends no task of another child", function()
    local gate = run.site.dir .. "/gate"
    local held = {}
    for i = 1, PROCESSES - 1 do
      held[i] = run.site:send("hold", i, run.ledger.path, gate)
    end
    wait_until(function()
      return select(2, run.ledger:starts()) == PROCESSES - 1
    end)
    -- Its own is all that it can end.
    assert.equal("stolen", run.site:send("steal", 40, 20):get { timeout = 20 })
    os.execute(("touch '%s'"):format(gate))
    for i, r in ipairs(held) do
      assert.equal(i, r:get { timeout = 20 })
    end
    assert.equal(0, run:stop().code)
  end)

  it("comes upon no file of its master's", function()
    assert.is_true((run.site:outcome("truncate")))
    assert.is_true((run.site:outcome("work", 1, run.ledger.path, 0)))
    assert.equal(0, run:stop().code)
  end)

  it("cannot tell of an end that is none", function()
    -- A child's first task is its claim 0, or one of the next.
    local lies = {}
    for claim = 0, 3 do
      lies[#lies + 1] = frame("D" .. string.pack(">I4I4I4", claim, 1, 0) .. "X")
    end
    local ok, e = run.site:outcome("write", table.concat(lies))
    assert.same({ false, "Malformed" }, { ok, e.kind })
    assert.equal("the process that ran it told nonsense of its end", e.message)
  end)

  it("is killed when it reads nothing, and nobody is to blame", function()
    local large = run.site:send("large", LARGE_MB << 20)
    assert.is_string(large:get { timeout = 60 })
    assert.equal("no more", run.site:send("hoard", large.id,
      run.site.dir .. "/hoarded"):get { timeout = 60 })
    assert.matches("reads nothing while too much waits for it",
      run.worker:stderr())
    assert.equal(0, run.site:count("lost"))
    assert.equal(0, run:stop().code)
  end)

  it("has only so many calls under way", function()
    local before = megabytes("VmRSS")
    local path, gate = run.site.dir .. "/asks", run.site.dir .. "/gate"
    local r = run.site:send("ask", CALLS, path, gate)
    wait_until(function()
      return core.sys.stat(path)
    end)
    run.site.server:kill("STOP")
    os.execute(("touch '%s'"):format(gate))
    wait_until(function()
      return core.sys.stat(path .. ".done")
    end, 60, "all its calls")
    run.site.server:kill("CONT")
    assert.equal("asked", r:get { timeout = 60 })
    local peak = megabytes("VmHWM") - before
    io.write(("[F31, calls asked=%dMB peak=%.0fMB]"):format(
      CALLS * 4000 // 1000000, peak))
    assert.is_true(peak < MASTER_MB_MAX)
    assert.equal(0, run:stop().code)
  end)
end)
