local canvas_site = require("spec.support.canvas_site")
local te = require("taskengine")

local SOON <const> = { timeout = 10 }

describe("A task that adds to its group", function()
  local site = canvas_site.for_each_spec()
  local add, sum, fail

  before_each(function()
    add, sum, fail = site:tasks()
  end)

  -- A task that returns its argument, and adds what it makes of it.
  local function adding(make)
    return site.app:task("grow", { bind = true }, function(self, x)
      for _, one in ipairs { make(x) } do
        self:add(one)
      end
      return x
    end)
  end

  it("adds to the table of the group, and to what comes behind", function()
    local grow = adding(function(x)
      return add:s(x, 10)
    end)
    assert.same({ 1, 5, 11, n = 3 },
      te.group { grow:s(1), add:s(2, 3) }():get(SOON))
    assert.equal(17, te.chord({ grow:s(1), add:s(2, 3) }, sum:s())()
      :get(SOON))
    assert.same({ 1, 11, n = 2 }, te.group { grow:s(1) }():get(SOON))
  end)

  it("adds chains, groups and flows", function()
    local grow = adding(function(x)
      return add:s(x, 1) | add:s(10), te.group { add:s(1, 1), add:s(2, 2) },
        te.flow { nodes = { a = { add:s(3, 3) } } }, te.group {}
    end)
    local got = te.group { grow:s(5) }():get(SOON)
    assert.same({ 5, 16, 2, 4, { a = 6 }, n = 5 }, got)
  end)

  it("is none in the place of a member, whose group is not its own", function()
    local grow = adding(function(x)
      return add:s(x, 10)
    end)
    local swap = site.app:task("swap", { bind = true }, function(self, make)
      self:replace(make == "group" and te.group { grow:s(1) } or grow:s(1))
    end)
    assert.same({ { 1, 11, n = 2 }, n = 1 },
      te.group { swap:s("group") }():get(SOON))
    local ok, e = te.group { swap:s("task") }():wait(10)
    assert.is_false(ok)
    assert.matches("add: the task is in a workflow, but no member of a group"
      .. " there", e.message, 1, true)
  end)

  it("has the results of what it adds", function()
    local ids = {}
    local grow = site.app:task("grow", { bind = true }, function(self)
      local one = self:add(add:s(1, 2))
      local group = self:add(te.group { add:s(3, 4), add:s(5, 6) })
      ids[1], ids[2] = one.id, group[2].id
      local value, values = one:get(SOON), group:get(SOON)
      return { value, values, group:completed_count() }
    end)
    local values = te.group { grow:s() }():get(SOON)
    assert.same({ { 3, { 7, 11, n = 2 }, 2 }, 3, 7, 11, n = 4 }, values)
    assert.same({ 3, 11 }, { site.app:result(ids[1]):get(SOON),
      site.app:result(ids[2]):get(SOON) })
  end)

  describe("is seen by who has sent the group", function()
    local group

    -- A member adds two, of which one adds another.
    before_each(function()
      local grow = site.app:task("grow", { bind = true }, function(self, x)
        for _ = 1, x do
          self:add(site.app.tasks.grow:s(x - 1))
        end
        return x
      end)
      group = te.group { grow:s(2), add:s(3, 3) }()
    end)

    it("in the results as they end", function()
      local seen, sum_of = {}, 0
      for one in group:iter(10) do
        assert.is_nil(seen[one.id])
        seen[one.id], sum_of = true, sum_of + one:get(SOON)
      end
      assert.equal(10, sum_of)
      assert.equal(6, #group)
    end)

    it("in the table of all", function()
      assert.same({ 2, 6, 1, 1, 0, 0, n = 6 }, group:join(SOON))
      assert.same({ 2, 6, 1, 1, 0, 0, n = 6 }, group:get(SOON))
      assert.equal(0, group[6]:get(SOON))
    end)

    it("in how many have ended", function()
      assert.equal(2, #group)
      group:get(SOON)
      assert.equal(6, group:completed_count())
      assert.equal(6, #group)
      assert.equal(6, group:completed_count())
    end)

    it("in what is forgotten", function()
      group:get(SOON)
      assert.equal(7, group:forget())
    end)

    it("within the time for all", function()
      site.is_resting = true
      assert.error_matches(function()
        for _ in group:iter(0.01) do end
      end, "Timeout", 1, true)
    end)
  end)

  it("asks once for all members of a group of chains", function()
    local chains = {}
    for i = 1, 50 do
      chains[i] = add:s(i, 1) | add:s(1)
    end
    local group = te.group(chains)()
    group:get(SOON)
    local asked = 0
    function site.transport.decide(name)
      asked = asked + (name == "te1_flow_look" and 1 or 0)
      return "done"
    end
    assert.equal(50, group:completed_count())
    assert.equal(2, asked)
  end)

  it("adds many, which are streamed too", function()
    local list = {}
    for i = 1, 300 do
      list[i] = add:s(i, 0)
    end
    local grow = adding(function()
      return te.group(list)
    end)
    local streamed = site.app:task("streamed", { stream = true },
      function(values)
        local total = 0
        for _, value in values do
          total = total + value
        end
        return { total, #values }
      end)
    local header = te.group { grow:s(1), add:s(1, 1) }
    assert.same({ 45153, 302 }, (header | streamed:s())():get(SOON))
    assert.equal(45153, (header | sum:s())():get(SOON))
  end)

  it("adds in the last step of a member", function()
    local grow = adding(function(x)
      return add:s(x, 10)
    end)
    assert.same({ 3, 13, n = 2 },
      te.group { add:s(1, 2) | grow:s() }():get(SOON))
  end)

  it("fails the group by what it adds", function()
    local grow = adding(function()
      return fail:s()
    end)
    local ok, e = te.group { grow:s(1) }():wait(10)
    assert.same({ false, "Broken" }, { ok, e.kind })
  end)

  it("adds it once when the answer was lost", function()
    local grow = adding(function(x)
      return add:s(x, 10)
    end)
    site.transport:break_at("te1_flow_add", { "answer lost", "lost" })
    assert.same({ 1, 11, n = 2 }, te.group { grow:s(1) }():get(SOON))
    assert.equal(1, site:count("add"))
  end)

  describe("that runs again", function()
    -- Runs twice; `make` gets its argument and how often it has run before.
    local function retrying(make)
      return site.app:task("retrying", { bind = true }, function(self, x)
        local r = self:add(make(x, self.retries))
        if self.retries == 0 then
          self:retry { countdown = 0 }
        end
        return { x, r:get(SOON) }
      end)
    end

    it("adds nothing that it has added before", function()
      local one = retrying(function(x)
        return add:s(x, 10)
      end)
      assert.same({ { 1, 11 }, { 2, 12 }, 11, 12, n = 4 },
        te.group { one:s(1), one:s(2) }():get(SOON))
      assert.equal(2, site:count("add"))
    end)

    it("adds what it has not added before", function()
      local one = retrying(function(x, retries)
        return add:s(x, retries)
      end)
      assert.same({ { 5, 6 }, 5, 6, n = 3 },
        te.group { one:s(5) }():get(SOON))
    end)

    it("knows a canvas whose tables are in another order", function()
      local first = site.app:task("first", function(t)
        return t.a
      end)
      local one = retrying(function(_, retries)
        local t = {}
        for i = 0, 9 do
          local k = retries == 0 and i or 9 - i
          t["key" .. k] = k
        end
        t.a = "a"
        return te.group { first:s(t) } | first:si { a = "b" }
      end)
      assert.same({ { 1, "b" }, "b", n = 2 },
        te.group { one:s(1) }():get(SOON))
      assert.equal(2, site:count("first"))
    end)

    it("adds as often as it adds the same in one run", function()
      local grow = site.app:task("twice", { bind = true }, function(self)
        self:add(add:s(1, 2))
        self:add(add:s(1, 2))
        if self.retries == 0 then
          self:retry { countdown = 0 }
        end
      end)
      te.group { grow:s() }():get(SOON)
      assert.equal(2, site:count("add"))
    end)
  end)

  it("is refused what cannot be added", function()
    local other = te.app("other"):task("far", function() end)
    local problems = {}
    local try = site.app:task("try", { bind = true }, function(self, given)
      local ok, problem = pcall(self.add, self,
        given == "task" and add or given == "far" and other:s() or add:s(1, 1))
      problems[given] = not ok and problem:match("spec.lua:%d+: (.*)")
    end)
    te.group { try:s("task"), try:s("far") }():get(SOON)
    try:delay("alone"):get(SOON);
    (try:s("chain") | add:si(1, 1))():get(SOON);
    (te.flow { nodes = { a = { try:s("sink") } } } | add:si(1, 1))():get(SOON)
    local no_member = "add: the task is in a workflow, but no member of a group"
      .. " there, nor the last step of one"
    assert.same({
      task = "add: a signature, chain, group, chord or flow expected, got task"
        .. " add; a call of it is written add:s(...)",
      far = "add: what is added by a task of app spec is of app other",
      alone = "add: the task was sent alone; only a member of a group can add"
        .. " to it",
      chain = no_member,
      sink = no_member,
    }, problems)
    assert.error_matches(function()
      adding(function()
        return add:s(1, 1)
      end)(1)
    end, "add: the task was called as a function", 1, true)
  end)

  it("is told when that is too much for one call", function()
    local list = {}
    for i = 1, 1023 do -- and what gathers them
      list[i] = add:s(i, i)
    end
    local grow = adding(function()
      return te.group(list)
    end)
    assert.equal(1024, te.group { grow:s(1) }():get(SOON).n)
    list[1024] = add:s(1, 1)
    local ok, e = te.group { grow:s(1) }():wait(10)
    assert.same({ false, "TooLarge" }, { ok, e.kind })
    assert.matches("add parts of up to 1,000 tasks", e.message, 1, true)
    assert.equal(1023, site:count("add"))
  end)

  it("is told when it is too late", function()
    local kind
    local late = site.app:task("late", { bind = true }, function(self)
      site.app:flow(self.id):revoke()
      local _, e = pcall(self.add, self, add:s(1, 1))
      kind = e.kind
    end)
    te.group { late:s() }()[1]:wait(10)
    assert.equal("Revoked", kind)
    assert.equal(0, site:count("add"))
  end)
end)
