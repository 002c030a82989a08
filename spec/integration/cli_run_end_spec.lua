local program = require("spec.support.program")
local scripts = require("spec.support.scripts")
local wait_until = require("spec.support.wait").wait_until

local SIGINT <const> = 2

describe("How taskengine run ends:", function()
  local site = scripts.for_each_spec()

  describe("says which tasks it leaves,", function()
    it("however its main ends", function()
      for how, ending in pairs {
        ["return"] = { code = 0, said = "" },
        raise = { code = 1, said = "taskengine: script.lua:%d+: no\n.-" },
        exit = { code = 0, said = "" },
      } do
        local ended = site:run("script.lua", "leave", how, "2")
        assert.equal(ending.code, ended.code)
        assert.matches("^" .. ending.said .. "taskengine: %d tasks that were"
          .. " sent have not ended; they stay in " .. site:broker()
            :gsub("%p", "%%%0") .. " and run with the next worker there\n$",
          ended.stderr:gsub("^[^\n]+ earlier run [^\n]+\n", ""))
      end
    end)

    it("as far as it knows where others may run them", function()
      local broker = "embedded://shared"
      site.place:run { "call", "nap", "[0]", "--queue", "other", "-b", broker }
      local ended = site:run("-b", broker, "script.lua", "leave", "return", "1")
      assert.same({ 0, "taskengine: up to 1 task that was sent has not ended;"
        .. " it stays in embedded://shared and runs with the next worker"
        .. " there\n" }, { ended.code, ended.stderr })
      assert.equal("", site:run("-b", broker, "script.lua", "pid").stderr)
    end)

    it("and nothing when all have ended that nobody waited for", function()
      assert.equal("", site:run("script.lua", "ignore").stderr)
    end)
  end)

  it("says what it waits for at the end, and ends at Ctrl-C", function()
    local process = site:start("script.lua", "stay")
    process:heard("stderr", "^taskengine: waiting up to 30 s for 1 running"
      .. " task; Ctrl%-C to stop now\n$")
    process:kill("INT")
    local ended = process:wait(10)
    assert.equal(130, ended.code)
    assert.matches("\ntaskengine: 1 task that was sent has not ended; it stays"
      .. " in [^\n]+\n$", ended.stderr)
  end)

  it("takes the end of its terminal for a Ctrl-C", function()
    local process = site:start("script.lua", "gates", "5")
    process:heard("stdout", "\n")
    process:kill("HUP")
    process:heard("stderr", "%d revoked")
    process:kill("HUP") -- of shell and system alike
    for i = 1, 5 do
      site.place:write("gate-" .. i, "")
    end
    local ended = process:wait()
    assert.same({ 129, 0 }, { ended.code, ended.signal })
    assert.not_matches("all done", ended.stdout)
  end)

  it("goes on without its terminal under nohup", function()
    local process = site.place:start({ "-c",
      'trap "" HUP; exec "$0" run -P 1 script.lua gates 1', program.PATH },
      { program = "sh" })
    process:heard("stdout", "\n")
    process:kill("HUP")
    site.place:write("gate-1", "")
    local ended = process:wait()
    assert.equal(0, ended.code)
    assert.matches("all done\n$", ended.stdout)
  end)

  it("takes its worker along when it is killed", function()
    local process = site:start("script.lua", "gates", "1")
    process:heard("stdout", "\n")
    local worker = program.children(process.pid)[1]
    local child = wait_until(function()
      return program.children(worker)[1]
    end)
    process:kill("KILL")
    process:wait()
    wait_until(function()
      return not program.is_alive(worker) and not program.is_alive(child)
    end)
  end)

  it("revokes at Ctrl-C what has not started, and waits for the rest",
    function()
      local process = site:start("script.lua", "gates", "50")
      local first, last = process:heard("stdout", "(%w+\t%w+)\n")
        :match("(%w+)\t(%w+)")
      wait_until(function()
        return site.place:run({ "status", "--json", "-b", site:broker() })
          .stdout:find('"in_flight":[12]')
      end)
      process:kill("INT")
      process:heard("stderr", "%d+ revoked")
      site.place:write("gate-1", "")
      local ended = process:wait()
      assert.equal(130, ended.code)
      local revoked, running = ended.stderr:match("^taskengine: interrupted:"
        .. " revoking what has not started; again to end at once\n"
        .. "taskengine: (%d+) revoked, (%d+) running\n")
      assert.is_true(tonumber(revoked) >= 40)
      assert.is_true(tonumber(running) >= 1)
      assert.not_matches("all done", ended.stdout)
      assert.equal("SUCCESS", site:state_of(first))
      assert.equal("REVOKED", site:state_of(last))
      -- Those still stand in the queue, where nobody is to run them.
      assert.equal("", site:run("script.lua", "pid").stderr)
    end)

  it("exits with 130 also when the script catches that", function()
    local process = site:start("script.lua", "catch")
    process:heard("stdout", "\n")
    process:kill("INT")
    process:heard("stderr", "interrupted")
    process:kill("INT") -- the nap of 100 s goes on
    assert.equal(2, process:wait().signal)
    assert.matches("\ncaught\n$", process:stdout())
    assert.not_matches("and fails", process:stderr())
  end)

  it("leaves it with --detach: the next run goes on with it", function()
    local process = site:start("--detach", "script.lua", "gates", "4")
    local _, last = process:heard("stdout", "(%w+\t%w+)\n")
      :match("(%w+)\t(%w+)")
    process:kill("INT")
    process:heard("stderr", "interrupted")
    site.place:write("gate-1", "")
    local ended = process:wait()
    assert.equal(130, ended.code)
    assert.equal("taskengine: interrupted; what has not started stays in "
      .. site:broker() .. "\n", ended.stderr)
    assert.equal("PENDING", site:state_of(last))
    for i = 2, 4 do
      site.place:write("gate-" .. i, "")
    end
    assert.equal(0, site:run("script.lua", "naps", "1", "0").code)
    assert.equal("SUCCESS", site:state_of(last))
  end)

  -- Two signals at the same time are one.
  local function wait_for_the_first(pid)
    wait_until(function()
      local file <close> = io.open(("/proc/%d/status"):format(pid))
      local caught = file and file:read("a"):match("SigCgt:%s*(%x+)")
      return caught and tonumber(caught, 16) & 1 << SIGINT - 1 == 0
    end)
  end

  it("ends at the second Ctrl-C, whatever the script does", function()
    local process = site:start("script.lua", "busy")
    local child = tonumber(process:heard("stdout", "^(%d+)\n"))
    process:kill("INT")
    wait_for_the_first(process.pid)
    process:kill("INT")
    assert.equal(2, process:wait().signal)
    wait_until(function()
      return not program.is_alive(child)
    end)
  end)
end)
