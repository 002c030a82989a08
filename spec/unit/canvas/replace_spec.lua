local canvas_site = require("spec.support.canvas_site")
local te = require("taskengine")

local SOON <const> = { timeout = 10 }

describe("A task that is replaced", function()
  local site = canvas_site.for_each_spec()
  local add, sum, fail, note

  before_each(function()
    add, sum, fail, note = site:tasks()
  end)

  -- A task that a canvas replaces.
  local function replaced_by(make)
    return site.app:task("swap", { bind = true }, function(self, ...)
      self:replace(make(...))
    end)
  end

  it("ends as what replaces it", function()
    local swap = replaced_by(function(x)
      return add:s(x, 1) | add:s(10)
    end)
    assert.equal(16, swap:delay(5):get(SOON))
    assert.equal(1, site:count("swap"))
  end)

  it("may be replaced by a group, or by a flow", function()
    local swap = replaced_by(function()
      return te.group { add:s(1, 1), add:s(2, 2) }
    end)
    assert.same({ 2, 4, n = 2 }, swap:delay():get(SOON))
    assert.equal(6, (swap:s() | sum:s())():get(SOON))
    local flow = site.app:task("flow", { bind = true }, function(self)
      self:replace(te.flow { nodes = { a = { add:s(1, 1) } } })
    end)
    assert.same({ a = 2 }, flow:delay():get(SOON))
    local empty = site.app:task("empty", { bind = true }, function(self)
      self:replace(te.group {})
    end)
    assert.same({ n = 0 }, empty:delay():get(SOON))
  end)

  it("delivers in its place in a workflow", function()
    local swap = replaced_by(function(x)
      return te.chord({ add:s(x, 1), add:s(x, 2) }, sum:s())
    end)
    assert.equal(113, (add:s(2, 3) | swap:s() | add:s(100))():get(SOON))
    assert.equal(22, (te.group { swap:s(1), swap:s(2), add:s(1, 9) }
      | sum:s())():get(SOON))
  end)

  it("fails as what replaces it", function()
    local swap = replaced_by(function()
      return add:s(1, 1) | fail:s()
    end)
    local ok, e = swap:delay():wait(10)
    assert.same({ false, "Broken" }, { ok, e.kind })
    ok, e = (swap:s() | note:s())():wait(10)
    assert.same({ false, "DependencyFailed", "Broken" },
      { ok, e.kind, e.cause.kind })
  end)

  it("can be replaced again", function()
    local swap
    swap = replaced_by(function(n)
      return n == 0 and add:s(1, 1) or swap:s(n - 1)
    end)
    assert.equal(2, swap:delay(5):get(SOON))
    assert.equal(6, site:count("swap"))
  end)

  it("changes nothing when its end is told twice", function()
    site.repeats = 2
    local swap = replaced_by(function(x)
      return add:s(x, 1)
    end)
    assert.equal(9, (te.group { swap:s(1), swap:s(2), swap:s(3) } | sum:s())()
      :get(SOON))
    assert.equal(3, site:count("add"))
  end)

  it("is refused what is no canvas, and one of another app", function()
    local other = te.app("other"):task("far", function() end)
    local problems = {}
    local try = site.app:task("try", { bind = true }, function(self, n)
      local given = n == 1 and add or n == 2 and other:s() or nil
      local ok, problem = pcall(self.replace, self, given)
      problems[n] = not ok and problem:match("spec.lua:%d+: (.*)")
    end)
    try:delay(1):get(SOON)
    try:delay(2):get(SOON)
    assert.same({
      "replace: a signature, chain, group, chord or flow expected, got task"
        .. " add; a call of it is written add:s(...)",
      "replace: what stands in for a task of app spec is of app other",
    }, problems)
  end)

  it("is not replaced by a function that it has spawned", function()
    local problem
    site.app:task("try", { bind = true }, function(self)
      local ok
      ok, problem = te.spawn(self.replace, self, add:s(1, 1)):wait()
      return ok
    end)
    assert.is_false(site.app.tasks.try:delay():get(SOON))
    assert.matches("replace: only the task's own function can ask for that, not"
      .. " one that it has spawned$", tostring(problem))
    assert.equal(0, site:count("add"))
  end)

  it("is not replaced where it was called as a function", function()
    assert.error_matches(function()
      replaced_by(function()
        return add:s(1, 1)
      end)()
    end, "replace: the task was called as a function", 1, true)
  end)
end)
