local plan_text = require("spec.support.plan_text")
local te = require("taskengine")

describe("taskengine.canvas", function()
  local app, add, sum

  before_each(function()
    app = te.app("spec")
    add = app:task("add", function() end)
    sum = app:task("sum", function() end)
  end)

  local function plan_of(one)
    return table.concat(plan_text.compile(one), "; ")
  end

  local function assert_refused(text, ...)
    local ok, problem = pcall(...)
    assert.is_false(ok)
    assert.matches("canvas_spec.lua:%d+: ", problem)
    assert.equal(text, problem:match("canvas_spec.lua:%d+: (.*)"))
  end

  local WANTED <const> = "a signature, chain, group, chord or flow expected,"

  it("joins with |, and leaves both sides as they were", function()
    local a, b = add:s(1), add:s(2)
    local ab = a | b
    local abc = ab | add:s(3)
    local abd = ab | add:s(4)
    assert.equal("1 add(1); 2 add(2) <- f1", plan_of(ab))
    assert.equal("1 add(1); 2 add(2) <- f1; 3 add(3) <- f2", plan_of(abc))
    assert.equal("1 add(1); 2 add(2) <- f1; 3 add(4) <- f2", plan_of(abd))
    assert.equal("1 add(1); 2 add(1) <- f1; 3 add(2) <- f2", plan_of(a | ab))
  end)

  it("adds to what was told to go with a chain as to one thing", function()
    local ab = (add:s(1) | add:s(2)):on_error(sum:s())
    assert.equal("1 add(1); 2 add(2) <- f1; 3 sum() <- e2 [e1];"
      .. " 4 add(3) <- f2", plan_of(ab | add:s(3)))
  end)

  it("copies without the copy being felt", function()
    local one = add:s(1):set { queue = "a" }
    local other = one:clone({ 7 }, { queue = "b" }):link(sum:s())
    assert.equal("1 add(1)", plan_of(one))
    assert.equal("a", one.options.queue)
    assert.equal("1 add(7, 1); 2 sum() <- f1", plan_of(other))
    assert.equal("b", other.options.queue)
  end)

  it("takes the later word of two that say the same", function()
    local eta = "2099-01-01T00:00:00Z"
    assert.same({ eta = eta },
      add:s():set { countdown = 5 }:set { eta = eta }.options)
    assert.same({ countdown = 5 },
      add:s():set { eta = eta }:clone({}, { countdown = 5 }).options)
    assert.same({ deadline = 60 },
      add:s():set { expires = 10 }:set { deadline = 60 }.options)
    assert.same({ expires = 10, queue = "a" },
      add:s():set { deadline = 60, queue = "a" }:set { expires = 10 }.options)
  end)

  it("keeps what it was told, whatever becomes of that table", function()
    local given = { queue = "a" }
    local one = add:s():set(given)
    given.queue = "b"
    assert.same({ queue = "a" }, one.options)
    assert.is_nil(add:s():set { link = sum:s() }.options)
  end)

  it("puts no argument in front of what is immutable", function()
    assert.equal("1 add(1)", plan_of(add:si(1):clone { 7 }))
  end)

  it("keeps the place of nil among arguments", function()
    assert.equal("1 add(nil, 7, nil, 1)",
      plan_of(add:s(nil, 1):clone { n = 2, nil, 7 }))
  end)

  it("takes a list or several canvases", function()
    local list = { add:s(1), add:s(2) }
    assert.equal(plan_of(te.chain(list)), plan_of(te.chain(table.unpack(list))))
    assert.equal(plan_of(te.group(list)), plan_of(te.group(table.unpack(list))))
    list[3] = add:s(3)
    assert.equal("group of 3", tostring(te.group(list)))
  end)

  it("cuts a list into groups of calls", function()
    local one = add:chunks({ { 1, 1 }, { 2, 2 }, { 3, 3 } }, 2)
    assert.equal("1 add(list); 2 add(list); 3 * <- f1-2", plan_of(one))
    assert.same({ { 3, 3 } }, one.members[2].args[1])
    assert.equal("starmap", one.members[2].over)
    assert.equal("group of 0", tostring(add:chunks({}, 5)))
  end)

  it("makes one task of a list, or of the result before it", function()
    assert.equal("1 add(list); 2 sum() <- f1; 3 add(list) <- s2 takes ",
      plan_of(te.chain(add:map { 1, 2 }, sum:map(), add:starmap { { 1 } })))
  end)

  it("staggers the members of a group", function()
    local group = te.group { add:s(1), add:s(2), add:s(3) }
    local one = group:clone():skew(10, 2)
    assert.is_nil(group.members[3].options)
    local countdowns = {}
    for i, member in ipairs(one.members) do
      countdowns[i] = member.options.countdown
    end
    assert.same({ 10, 12, 14 }, countdowns)
    assert_refused("skew: a group has members that it can stagger, a task has"
      .. " none", add:s(1).skew, add:s(1))
  end)

  it("refuses to stagger by what is no time", function()
    local group = te.group { add:s(1), add:s(2), add:s(3) }
    local WANTED_TIME <const> = "seconds from 0 to 3162240000 expected, got "
    for shown, given in pairs {
      ["start: " .. WANTED_TIME .. "a table"] = { {} },
      ["start: " .. WANTED_TIME .. "-1"] = { -1 },
      ["step: " .. WANTED_TIME .. '"1"'] = { 0, "1" },
      ["the last one's countdown: " .. WANTED_TIME .. "6000000000"] =
        { 0, 3000000000 },
    } do
      assert_refused("skew: " .. shown, group.skew, group, table.unpack(given))
    end
    assert.is_nil(group.members[1].options)
  end)

  it("refuses what is no canvas", function()
    assert_refused("chain: element 2: " .. WANTED .. " got 7", te.chain,
      add:s(1), 7)
    assert_refused("chain: " .. WANTED .. " got task add; a call of it is"
      .. " written add:s(...)", te.chain, add)
    assert_refused("chain: at least one signature expected", te.chain)
    assert_refused("group: element 1: " .. WANTED .. " got task add; a call of"
      .. " it is written add:s(...)", te.group, { add })
    assert_refused("group: element 1: " .. WANTED .. " got a table", te.group,
      { { name = "result of something" } })
    assert_refused("|: the right side: " .. WANTED .. ' got "x"', function()
      return add:s(1) | "x"
    end)
    assert_refused("|: the left side: " .. WANTED .. " got 7", function()
      return 7 | add:s(1)
    end)
  end)

  it("refuses a list of which it would lose a part", function()
    assert_refused("group: element 2: " .. WANTED .. " got nil", te.group,
      { add:s(1), nil, add:s(2) })
    assert_refused("group: element 2: " .. WANTED .. " got nil", te.group,
      add:s(1), nil)
    assert_refused("chain: element 1: " .. WANTED .. " got nil", te.chain,
      table.pack(nil, add:s(1)))
    assert_refused("group: a list expected, but it has a field 'first'",
      te.group, { first = add:s(1) })
    assert.equal("group of 2", tostring(te.group(table.pack(add:s(), add:s()))))
  end)

  it("refuses a list of elements of which it would lose one", function()
    local HOLE <const> = "list: element 2: a list of arguments expected, got"
      .. " nil"
    assert_refused("map: list: element 2: a value or te.null expected, got nil",
      add.map, add, { 1, nil, 3 })
    assert_refused("map: list: element 1: a value or te.null expected, got nil",
      add.map, add, { [2] = 2 })
    assert_refused("map: list: element 3: a value or te.null expected, got nil",
      add.map, add, table.pack(1, 2, nil))
    assert_refused("map: list: a list expected, but it has a field 'x'",
      add.map, add, { 1, x = 2 })
    assert_refused("starmap: " .. HOLE, add.starmap, add,
      { { 1, 2 }, nil, { 5, 6 } })
    assert_refused("chunks: " .. HOLE, add.chunks, add,
      { { 1, 2 }, nil, { 5, 6 } }, 2)
    assert.equal("1 add(list)", plan_of(add:map { 1, te.null, false }))
    for _, n in ipairs { 1, 3 } do
      local given = { { 1 }, { 2 }, { 3 }, n = n }
      assert.same({ { 1 }, { 2 }, { 3 } }, add:map(given).args[1])
      assert.same({ { 1 }, { 2 }, { 3 } }, add:starmap(given).args[1])
      assert.equal("group of 2", tostring(add:chunks(given, 2)))
    end
  end)

  it("refuses a chord over what is no group", function()
    assert_refused("chord: its first part has to be a group, got a task",
      te.chord, add:s(1), sum:s())
    assert_refused("chord: its first part has to be a group, got a chain",
      te.chord, add:s(1) | add:s(2))
    assert_refused("chord: its first part has to be a group, got 7",
      te.chord, 7)
    assert_refused("chord: the body: " .. WANTED .. " got task sum; a call of"
      .. " it is written sum:s(...)", te.chord, { add:s(1) }, sum)
  end)

  it("takes a list of callbacks, or several", function()
    local function made(method)
      local one, a, b = add:s(1), sum:s(1), sum:s(2)
      return plan_of(one[method](one, a, b)),
        plan_of(add:s(1)[method](add:s(1), { a, b }))
    end
    for method, plan in pairs {
      link = "1 add(1); 2 sum(1) <- f1; 3 sum(2) <- f1",
      link_error = "1 add(1); 2 sum(1) <- e1 [e1]; 3 sum(2) <- e1 [e2]",
      on_error = "1 add(1); 2 sum(1) <- e1 [e1]; 3 sum(2) <- e1 [e2]",
    } do
      assert.same({ plan, plan }, { made(method) })
    end
    assert_refused("link: element 2: " .. WANTED .. ' got "x"', add:s(1).link,
      add:s(1), sum:s(), "x")
    assert_refused("link: " .. WANTED .. " got nil", add:s(1).link, add:s(1))
  end)

  it("refuses a callback that is no signature", function()
    local one = add:s(1)
    assert_refused("link: " .. WANTED .. " got a function", one.link, one,
      print)
    assert_refused("on_error: element 1: " .. WANTED .. " got task sum; a call"
      .. " of it is written sum:s(...)", one.on_error, one, { sum })
    assert_refused("link_error: " .. WANTED .. " got a table", one.link_error,
      one, {})
    assert_refused("set: link: a signature, or a list of them expected, got 7",
      one.set, one, { link = 7 })
    assert_refused("link: " .. WANTED .. " got task sum; a call of it is"
      .. " written sum:s(...)", add.apply_async, add, {}, { link = sum })
  end)

  it("refuses options that are none, and an id for many tasks", function()
    assert_refused("set: unknown option 'queu' (did you mean 'queue'?)",
      te.group {}.set, te.group {}, { queu = "x" })
    assert_refused("set: task_id: what is in a canvas has no id of the caller's"
      .. " own", te.group {}.set, te.group {}, { task_id = "x" })
    assert_refused("use canvas:link(...), with a colon", add:s().link, 1)
  end)

  it("refuses lists that are none", function()
    assert_refused("map: list: a table expected, got 7", add.map, add, 7)
    assert_refused("chunks: list: a table expected, got nil", add.chunks, add)
    assert_refused("chunks: size: an integer from 1 to 1000000 expected, got"
      .. " 0", add.chunks, add, {}, 0)
  end)

  it("says what it is", function()
    assert.equal("signature of add", tostring(add:s(1)))
    assert.equal("chain of 2", tostring(add:s(1) | add:s(2)))
    assert.equal("chord", tostring(te.chord {}))
  end)
end)
