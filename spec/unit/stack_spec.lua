local core = require("taskengine.core")

local MAX <const> = 100

-- Calls a function some levels deeper.
local function descend(levels, fn)
  if levels == 0 then
    return (fn())
  end
  return (descend(levels - 1, fn))
end

describe("core.stack", function()
  -- The same, slowly.
  local function expected(max)
    local infos, level = {}, 2
    local info = debug.getinfo(level, "Slnf")
    while info do
      infos[#infos + 1] = {
        func = info.func, source = info.source, short_src = info.short_src,
        what = info.what, name = info.name, namewhat = info.namewhat,
        currentline = info.currentline, linedefined = info.linedefined,
      }
      level = level + 1
      info = debug.getinfo(level, "Slnf")
    end
    return table.move(infos, math.max(#infos - max + 1, 1), #infos, 1, {}),
      #infos
  end

  local function check(levels, max)
    descend(levels, function()
      local found, count = core.stack.outermost(max)
      local infos, all = expected(max)
      assert.equal(all, count)
      -- This function is at two lines in the two.
      for _, list in ipairs { found, infos } do
        if #list == all then
          list[1].currentline = 0
        end
      end
      assert.same(infos, found)
    end)
  end

  it("tells of the outermost levels what debug.getinfo does", function()
    for _, levels in ipairs { 0, 1, 50, 3000 } do
      for _, max in ipairs { 1, 2, MAX } do
        check(levels, max)
      end
    end
  end)

  it("does so in a coroutine, however few levels it has", function()
    for levels = 1, 3 do
      assert(coroutine.resume(coroutine.create(check), levels, MAX))
    end
    local co = coroutine.create(core.stack.outermost)
    assert.same({ true, {}, 0 }, { coroutine.resume(co, 1) })
    co = coroutine.create(function()
      return core.stack.outermost(1)
    end)
    assert.same({ true, {}, 0 }, { coroutine.resume(co) })
  end)

  it("gives no more than there is room for", function()
    for _, max in ipairs { 0, MAX + 1, -1 } do
      assert.has_error(function()
        core.stack.outermost(max)
      end)
    end
  end)
end)
