local core = require("taskengine.core")
local script = require("spec.support.script")

local guard, loop = core.guard, core.loop

describe("taskengine.core.guard", function()
  local function spin(ms)
    local over = loop.now() + ms
    while loop.now() < over do -- luacheck: ignore 542
    end
  end

  -- Runs a function as a task's code is run.
  local function resume(fn, ...)
    return guard.resume(coroutine.create(fn), ...)
  end

  before_each(function()
    assert(guard.on_alarm(function()
      guard.alarm(0)
      error({ level = debug.getinfo(2, "f").func }, 0)
    end))
  end)

  after_each(function()
    guard.alarm(0)
  end)

  it("resumes coroutines as Lua does", function()
    local co = coroutine.create(function(...)
      local n, first = select("#", ...), ...
      return n, first, coroutine.yield(nil, 2, nil)
    end)
    assert.same({ true, nil, 2, nil, n = 4 },
      table.pack(guard.resume(co, nil, "x")))
    assert.same({ true, 2, nil, "back", nil, n = 5 },
      table.pack(guard.resume(co, "back", nil)))
    assert.same({ false, "cannot resume dead coroutine" },
      { guard.resume(co) })
    local object = {}
    assert.same({ false, object }, { resume(error, object) })
    assert.has_error(function()
      guard.resume(print)
    end, "bad argument #1 to 'resume' (coroutine expected, got function)")
  end)

  it("raises an error in code that computes, there and not before", function()
    local began = loop.now()
    guard.alarm(began + 50)
    local function compute()
      spin(10000)
    end
    local ok, e = resume(compute)
    assert.same({ false, spin }, { ok, e.level })
    assert.is_true(loop.now() >= began + 50)
  end)

  it("raises it in coroutines within, made before or after", function()
    for _, makes_first in ipairs { true, false } do
      local inner = makes_first and coroutine.create(spin)
      guard.alarm(loop.now() + 10)
      local ok, e = resume(function()
        inner = inner or coroutine.create(spin)
        local is_done, why = guard.resume(inner, 10000)
        assert(not is_done)
        spin(20) -- it is left alone
        return why
      end)
      assert.is_true(ok)
      assert.equal(spin, e.level)
    end
  end)

  it("asks again when the handler has to wait", function()
    local asked, ready_at = 0, loop.now() + 30
    assert(guard.on_alarm(function()
      asked = asked + 1
      if loop.now() < ready_at then
        return true
      end
      guard.alarm(0)
      error("now", 0)
    end))
    guard.alarm(loop.now() + 5)
    assert.same({ false, "now" }, { resume(spin, 10000) })
    assert.is_true(asked > 1 and loop.now() >= ready_at)
  end)

  it("comes again when the code has removed its hook", function()
    guard.alarm(loop.now() + 5)
    assert.is_false(resume(function()
      while true do
        debug.sethook()
        loop.now() -- a system call: ThreadSanitizer holds signals back till one
      end
    end))
  end)

  describe("that is rung from outside", function()
    -- By SIGRTMIN, as glibc numbers it.
    local RING <const> = "kill -34 " .. core.sys.pid()

    local function ring()
      assert(os.execute(RING))
    end

    it("raises an error in code that computes, whatever the time", function()
      guard.alarm(loop.now() + 100000)
      local ok, e = resume(function()
        ring()
        spin(10000)
      end)
      assert.is_false(ok)
      assert.is_function(e.level)
      assert.is_true(resume(spin, 20))
    end)

    it("raises it in what runs next, when nothing does", function()
      ring()
      spin(20)
      assert.same({ false, spin }, { (function(ok, e)
        return ok, e.level
      end)(resume(spin, 10000)) })
      assert.is_true(resume(spin, 20))
    end)

    it("raises it in coroutines within", function()
      local ok, e = resume(function()
        local inner = coroutine.create(spin)
        ring()
        return guard.resume(inner, 10000)
      end)
      assert.is_false(ok and e)
    end)

    it("asks again when the handler has to wait", function()
      local asked = 0
      assert(guard.on_alarm(function()
        asked = asked + 1
        if asked < 3 then
          return true
        end
        error("now", 0)
      end))
      ring()
      assert.same({ false, "now" }, { resume(spin, 10000) })
      assert.equal(3, asked)
      assert.is_true(resume(spin, 20))
    end)

    it("leaves the code alone when the handler does", function()
      local asked = 0
      assert(guard.on_alarm(function()
        asked = asked + 1
      end))
      ring()
      assert.is_true(resume(spin, 20))
      assert.equal(1, asked)
    end)
  end)

  it("interrupts nothing when the time is taken back, or moved", function()
    guard.alarm(loop.now() + 20)
    guard.alarm(0)
    assert.is_true(resume(spin, 40))
    guard.alarm(loop.now() + 20)
    guard.alarm(loop.now() + 10000)
    assert.is_true(resume(spin, 40))
    -- Not what no task runs, either.
    guard.alarm(loop.now() + 5)
    spin(20)
    guard.alarm(0)
    assert.is_true(resume(spin, 1))
  end)

  it("refuses times that are none", function()
    for _, ms in ipairs { -1, 1e15, 0 / 0 } do
      assert.has_error(function()
        guard.alarm(ms)
      end, "bad argument #1 to 'alarm' (out of range)")
    end
  end)

  describe("counts memory", function()
    -- In a Lua state of its own: it is for good.
    local function run(text, before)
      local folder <close> = script.folder { ["main.lua"] = (before or "") .. [[
        local guard = require("taskengine.core").guard
        local used = guard.count_memory()
        assert(used > 10000 and used < 4 << 20)
      ]] .. text }
      local out, err, code = script.run(folder.dir, "main.lua")
      assert.same({ "", 0 }, { err, code })
      return out
    end

    it("and refuses more than the limit while it holds", function()
      assert.equal("16777216 false not enough memory true 4194304\n", run [[
        local size = #("x"):rep(16 << 20)
        collectgarbage()
        guard.limit_memory(8 << 20)
        local ok, why = pcall(string.rep, "x", 16 << 20)
        guard.limit_memory(0)
        local more = #("x"):rep(4 << 20)
        print(("%d %s %s %s %d"):format(size, ok, why, guard.is_exhausted(),
          more))
      ]])
    end)

    it("and takes garbage for none", function()
      assert.equal("false\n", run [[
        for _ = 1, 50 do
          guard.limit_memory(8 << 20)
          local t = {}
          for i = 1, 20000 do t[i] = { i } end
          local text = ("x"):rep(1 << 20)
          guard.limit_memory(0)
        end
        print(guard.is_exhausted())
      ]])
    end)

    it("and asks the allocator that was there before", function()
      assert.equal("true\ttrue\n", run([[
        local before = calls()
        local t = {}
        for i = 1, 100 do t[i] = { i } end
        print(calls() >= before + 100, guard.used_memory() > used)
      ]], [[
        local calls = require("taskengine.core").testing.lua_allocator_calls
        calls()
      ]]))
    end)

    it("and refuses more than a lower limit", function()
      assert.equal("true false true\n", run [[
        guard.limit_memory(32 << 20)
        local before = pcall(string.rep, "x", 6 << 20)
        guard.limit_memory(8 << 20)
        local after = pcall(string.rep, "x", 6 << 20)
        guard.limit_memory(32 << 20)
        print(("%s %s %s"):format(before, after,
          pcall(string.rep, "x", 6 << 20)))
      ]])
    end)

    it("to the last byte", function()
      assert.equal("true\n", run [[
        local all = {}
        for i = 1, 50000 do all[i] = { tostring(i), {} } end
        all = nil
        collectgarbage()
        collectgarbage()
        print(guard.used_memory() == collectgarbage("count") * 1024)
      ]])
    end)
  end)
end)
