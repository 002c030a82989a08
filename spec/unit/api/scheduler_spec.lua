local core = require("taskengine.core")
local misuse = require("spec.support.misuse")
local scheduler = require("taskengine.scheduler")
local script = require("spec.support.script")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local loop = core.loop

local function sleep_ms(ms)
  te.sleep(ms / 1000)
end

-- Runs fn in a fiber and returns what it returns.
local function in_fiber(fn, ...)
  return te.spawn(fn, ...):get()
end

describe("waiting in plain Lua", function()
  it("runs the loop until the wait is over", function()
    local began = loop.now()
    te.sleep(0.02)
    assert.is_true(loop.now() - began >= 19)
  end)

  it("runs the loop also from a coroutine of the user's", function()
    local step = coroutine.wrap(function()
      sleep_ms(1)
      coroutine.yield("first")
      sleep_ms(1)
      return "second"
    end)
    assert.equal("first", step())
    assert.equal("second", step())
  end)

  it("hands on what the wait brings, once", function()
    local a, b, c = scheduler.await("x", function(wake)
      loop.defer(function()
        wake(1, nil, 3)
        wake("late")
      end)
    end)
    assert.same({ 1, nil, 3 }, { a, b, c })
  end)

  it("lets go of what it waits for when it is interrupted", function()
    local closed, problem = 0, {}
    finally(function()
      scheduler.interrupt(nil)
    end)
    local ok, raised = pcall(scheduler.await, "x", function()
      loop.defer(function()
        scheduler.interrupt(problem)
      end)
      return { close = function()
        closed = closed + 1
      end }
    end)
    assert.same({ false, 1 }, { ok, closed })
    assert.equal(problem, raised)
  end)
end)

describe("Ctrl-C", function()
  it("ends a wait of a script, however long", function()
    local folder <close> = script.folder { ["main.lua"] = [[
      local te = require("taskengine")
      te.spawn(function() te.sleep(100) end)
      io.stdout:write("waiting\n"):flush()
      print(pcall(te.sleep, 100))
      io.stdout:write("again\n"):flush()
      te.sleep(100)
    ]] }
    local out, code = folder.dir .. "/out", nil
    local process = assert(core.sys.spawn({ "sh", "-c",
      "exec lua5.4 main.lua >out 2>err" }, {
      cwd = folder.dir,
      on_exit = function(status, signal)
        code = signal > 0 and 128 + signal or status
      end,
    }))
    local function wrote(text)
      local file <close> = io.open(out)
      return file and file:read("a"):find(text, 1, true)
    end
    wait_until(function()
      return wrote("waiting")
    end)
    process:kill("INT")
    wait_until(function()
      return wrote("interrupted!\nagain\n")
    end)
    -- After the first, lua5.4 lets the second end the process.
    process:kill("INT")
    wait_until(function()
      return code
    end)
    assert.equal(130, code)
  end)
end)

describe("waiting in a fiber", function()
  it("lets others go on meanwhile", function()
    local order, wakes, all = {}, {}, {}
    for i = 1, 3 do
      all[i] = te.spawn(function()
        scheduler.await("x", function(wake)
          wakes[i] = wake
        end)
        order[#order + 1] = i
      end)
    end
    wait_until(function()
      return #wakes == 3
    end)
    for _, i in ipairs { 2, 3, 1 } do
      loop.defer(wakes[i])
    end
    for _, one in ipairs(all) do
      one:get()
    end
    assert.same({ 2, 3, 1 }, order)
  end)

  it("passes through pcall", function()
    local ok, raised = in_fiber(function()
      return pcall(function()
        sleep_ms(1)
        error("out", 0)
      end)
    end)
    assert.is_false(ok)
    assert.equal("out", raised)
  end)

  it("passes through metamethods and iterators in Lua", function()
    local object = setmetatable({}, {
      __index = function(_, key)
        sleep_ms(1)
        return key .. "!"
      end,
      __add = function(_, n)
        sleep_ms(1)
        return n + 1
      end,
    })
    local function slowly(list)
      local i = 0
      return function()
        sleep_ms(1)
        i = i + 1
        return list[i]
      end
    end
    local name, sum, text = in_fiber(function()
      local seen = ""
      for item in slowly { "a", "b" } do
        seen = seen .. item
      end
      return object.name, object + 4, seen
    end)
    assert.same({ "name!", 5, "ab" }, { name, sum, text })
  end)

  it("passes through the user's coroutines, however deep", function()
    -- Counts to three; each number comes from the counter inside.
    local function counter(depth)
      return coroutine.wrap(function()
        local inside = depth > 1 and counter(depth - 1)
        for i = 1, 3 do
          sleep_ms(1)
          coroutine.yield(inside and inside() or i)
        end
        return "end"
      end)
    end
    local got = in_fiber(function()
      local step = counter(5)
      return { step(), step(), step(), step() }
    end)
    assert.same({ 1, 2, 3, "end" }, got)
  end)

  it("keeps what goes in and out of a user's coroutine", function()
    local a, b, c, d = in_fiber(function()
      local co = coroutine.create(function(...)
        sleep_ms(1)
        local x, y = coroutine.yield(select("#", ...), ...)
        sleep_ms(1)
        return x, y
      end)
      local _, n, first = coroutine.resume(co, nil, 2, nil)
      local _, x, y = coroutine.resume(co, "x", "y")
      return n, first, x, y
    end)
    assert.same({ 3, nil, "x", "y" }, { a, b, c, d })
  end)

  it("lets a user's coroutine fail like any other", function()
    local function thrower(object)
      return coroutine.wrap(function()
        sleep_ms(1)
        error(object, 0)
      end)
    end
    local object = {}
    local line, text, same, state = in_fiber(function()
      local at = debug.getinfo(1, "l").currentline + 1
      local _, raised = pcall(function() thrower("why")() end)
      local _, other = pcall(thrower(object))
      local co = coroutine.create(function()
        sleep_ms(1)
        error("x")
      end)
      coroutine.resume(co)
      return at, raised, other, coroutine.status(co)
    end)
    assert.matches("scheduler_spec.lua:" .. line .. ": why", text, 1, true)
    assert.equal(object, same)
    assert.equal("dead", state)
  end)

  it("is not seen by another fiber that has the same coroutine", function()
    local co, has_looked
    local holder = te.spawn(function()
      co = coroutine.create(function()
        repeat
          sleep_ms(1)
        until has_looked
        return "done"
      end)
      return coroutine.resume(co)
    end)
    local ok, why, status, close_ok, close_why = in_fiber(function()
      sleep_ms(1)
      local resumed, problem = coroutine.resume(co)
      local closed, refusal = pcall(coroutine.close, co)
      has_looked = true
      return resumed, problem, coroutine.status(co), closed, refusal
    end)
    assert.same({ false, "cannot resume non-suspended coroutine", "normal",
      false }, { ok, why, status, close_ok })
    assert.matches("cannot close a normal coroutine", close_why)
    assert.same({ true, "done" }, { holder:get() })
    assert.equal("dead", coroutine.status(co))
  end)

  it("is refused inside a C call, at the line that waits", function()
    local line, problem = in_fiber(function()
      local at = debug.getinfo(1, "l").currentline + 3
      local _, raised = pcall(table.sort, { 2, 1 }, function(a, b)
        -- the line that waits
        te.sleep(0)
        return a < b
      end)
      return at, raised
    end)
    assert.matches("scheduler_spec.lua:" .. line
      .. ": te.sleep cannot wait inside a C call (the function of table.sort"
      .. " or string.gsub", problem, 1, true)
  end)

  it("is refused in a coroutine inside a C call", function()
    local problem, value = in_fiber(function()
      local _, raised = pcall(string.gsub, "a", "a", coroutine.wrap(function()
        te.sleep(0.001)
      end))
      sleep_ms(2) -- the refused wait does not end another one
      return raised, "went on"
    end)
    assert.matches("te.sleep cannot wait inside a C call", problem)
    assert.equal("went on", value)
  end)

  it("is refused in a coroutine that something else started", function()
    local folder <close> = script.folder { ["main.lua"] = [[
      local resume = coroutine.resume
      local te = require("taskengine")
      te.spawn(function()
        local co = coroutine.create(function() te.sleep(0) end)
        print(resume(co))
      end):get()
    ]] }
    local out = script.run(folder.dir, "main.lua")
    assert.matches("^false\tmain.lua:4: te.sleep cannot wait in a coroutine"
      .. " that was not started through coroutine.resume", out)
  end)

  it("fails when the user yields out of it", function()
    local ok, problem = te.spawn(function()
      coroutine.yield("x")
    end):wait()
    assert.is_false(ok)
    assert.equal("attempt to yield from outside a coroutine", problem)
  end)
end)

describe("te.sleep", function()
  it("takes seconds of 0 or more", function()
    for given, shown in pairs { [-1] = "-1", x = '"x"',
      [math.huge] = "inf" } do
      assert.equal("te.sleep: seconds from 0 to 1000000000 expected, got "
        .. shown, misuse(te.sleep, given))
    end
    assert.matches("expected, got nil$", misuse(te.sleep))
    assert.matches("expected, got %-?nan$", misuse(te.sleep, 0 / 0))
  end)
end)

describe("te.spawn", function()
  it("begins when the one who spawns waits", function()
    local order = {}
    local one = te.spawn(function(...)
      order[#order + 1] = table.concat({ ... }, " ")
    end, "a", "b")
    order[#order + 1] = "before"
    one:get()
    assert.same({ "before", "a b" }, order)
  end)

  it("gives all values, nil too", function()
    local one = te.spawn(function()
      return nil, 2, nil
    end)
    assert.same({ n = 3, nil, 2, nil }, table.pack(one:get()))
    assert.same({ n = 4, true, nil, 2, nil }, table.pack(one:wait()))
  end)

  it("hands on what was raised, as it is", function()
    local object = {}
    local one = te.spawn(error, object)
    assert.equal(object, select(2, pcall(one.get, one)))
    assert.same({ false, object }, { one:wait() })
  end)

  it("says that a dot has to be a colon", function()
    local one = te.spawn(type, 1)
    for _, name in ipairs { "get", "wait" } do
      assert.equal(("use spawned:%s(...), with a colon"):format(name),
        misuse(one[name], 1))
    end
    one:wait()
  end)

  it("can be waited for with a limit, by many", function()
    local may_end
    local one = te.spawn(function()
      repeat
        sleep_ms(1)
      until may_end
      return "value"
    end)
    assert.same({ nil, "timeout" }, { one:wait(0.001) })
    may_end = true
    local others = {}
    for i = 1, 3 do
      others[i] = te.spawn(function()
        return one:get()
      end)
    end
    for _, other in ipairs(others) do
      assert.equal("value", other:get())
    end
    assert.same({ true, "value" }, { one:wait(1) })
  end)

  it("may be refused a wait before that begins", function()
    finally(function()
      scheduler.before_wait(nil)
    end)
    local found = in_fiber(function()
      local here, asked, started = scheduler.current(), nil, false
      scheduler.before_wait(function(fiber)
        asked = fiber
        error("not now", 0)
      end)
      local ok, e = pcall(scheduler.await, "x", function()
        started = true
      end)
      return { ok, e, asked == here, started }
    end)
    assert.same({ false, "not now", true, false }, found)
  end)

  it("reports an error that nobody asked for", function()
    local folder <close> = script.folder { ["main.lua"] = [[
      local te = require("taskengine")
      local function boom() error("unseen") end
      te.spawn(boom)
      local asked = te.spawn(boom)
      te.sleep(0)
      assert(not asked:wait())
    ]] }
    local _, err, code = script.run(folder.dir, "main.lua")
    assert.equal(0, code)
    assert.matches("^taskengine: error in a function spawned: main.lua:2:"
      .. " unseen\nstack traceback:\n\tmain.lua:2: in function <main.lua:2>\n$",
      err)
  end)

  it("takes functions only", function()
    assert.equal('te.spawn: a function expected, got "x"',
      misuse(te.spawn, "x"))
  end)
end)
