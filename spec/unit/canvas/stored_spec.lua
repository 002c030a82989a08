local core = require("taskengine.core")
local misuse = require("spec.support.misuse")
local plan_text = require("spec.support.plan_text")
local te = require("taskengine")

describe("A canvas as a plain table", function()
  local app, add, sum

  before_each(function()
    app = te.app("spec")
    add = app:task("add", function() end)
    sum = app:task("sum", function() end)
  end)

  -- Through JSON, which has strings, numbers, booleans and lists only.
  local function there_and_back(one)
    local text = assert(core.json.encode(one:to_table(), { exact = true }))
    return app:signature((assert(core.json.decode(text))))
  end

  local function assert_same_plan(one)
    assert.same(plan_text.compile(one), plan_text.compile(there_and_back(one)))
  end

  it("becomes the same canvas again", function()
    assert_same_plan(add:s(1, nil, 3))
    assert_same_plan(te.chain(add:s(1), add:si(2), sum:s()))
    assert_same_plan(te.group { add:s(1), add:s(2) | sum:s() } | sum:s(5))
    assert_same_plan(te.chord({ add:s(1), te.group {} }, sum:s()))
    assert_same_plan(add:s(1):link(sum:s()):on_error { sum:s(), sum:si() })
    assert_same_plan((add:s(1) | add:s(2)):clone { 7 })
    assert_same_plan(te.flow {
      name = "etl",
      nodes = {
        a = { add:s(1) },
        b = { add:s(2), after = { "a" } },
        c = { sum:s(), after = { "b", a = "ignore" } },
        d = { sum:s(), after = { a = "fail", b = "continue" } },
      },
    })
  end)

  it("keeps options, and what is called for a list", function()
    local one = there_and_back(add:chunks({ { 1, 2 }, { 3, 4 } }, 1)
      :set { queue = "heavy", expires = 5 })
    assert.same({ queue = "heavy", expires = 5 }, one.options)
    assert.equal("starmap", one.members[2].over)
    assert.same({ n = 1, { { 3, 4 } } }, one.members[2].args)
  end)

  it("is read back however often its options were set", function()
    local one = add:s(1):set { countdown = 5 }:set { eta = 4e9 }
    assert.same({ eta = 4e9 }, app:signature(one:to_table()).options)
  end)

  it("takes a chain only as far as it goes", function()
    local ab = add:s(1) | add:s(2)
    assert.is_truthy(ab | add:s(3)) -- shares the list of steps
    assert.equal(2, #ab:to_table().chain)
  end)

  it("is a call by name, too", function()
    local one = app:signature("elsewhere", { 1, 2 }, { queue = "far" })
    assert.same({ "1 elsewhere(1, 2)" }, plan_text.compile(one))
    assert.same({ queue = "far" }, one.options)
  end)

  local function assert_refused(text, ...)
    local ok, problem = pcall(app.signature, app, ...)
    assert.is_false(ok)
    assert.equal(text, problem:match("stored_spec.lua:%d+: (.*)"))
  end

  it("is refused when it is none", function()
    assert_refused("a stored canvas has one of the fields task, chain, group,"
      .. " chord, flow, got a table", {})
    assert_refused("a stored canvas has one of the fields task, chain, group,"
      .. " chord, flow, got 7", { chain = { 7 } })
    assert_refused("a stored group: group: a table expected, got true",
      { group = true })
    assert_refused("a stored task: args: a table expected, got 1",
      { task = "a", args = 1 })
    assert_refused("a stored flow: flow: a table expected, got 1", { flow = 1 })
    assert_refused("the node 'a': a table expected, got 1",
      { flow = { a = 1 } })
    assert_refused("set: unknown option 'x'", { task = "a",
      options = { x = 1 } })
    assert_refused("a stored task: task: a name (1 to 128 of the characters A-Z"
      .. ' a-z 0-9 _ . : -) expected, got "a b"', { task = "a b" })
  end)

  it("is refused where it is a part of itself", function()
    local DEEP <const> = "the canvas is nested deeper than 500 levels"
    local function refuses(field, wrap)
      local t = { chain = { { task = "a" } } }
      t[field] = wrap(t)
      assert_refused(DEEP, t)
    end
    local function list(t)
      return { t }
    end
    refuses("chain", list)
    refuses("link", list)
    refuses("link_error", list)
    local header = { group = {} }
    header.group[1] = { chord = header }
    assert_refused(DEEP, header)
    local flow = { flow = { a = {} } }
    flow.flow.a.canvas = flow
    assert_refused(DEEP, flow)
    local one = add:s(1)
    assert.equal(DEEP, misuse(one.to_table, one:on_error(one)))
  end)

  it("may lie as deep as one that is sent", function()
    local t = { task = "a", args = {} }
    for _ = 1, 499 do
      t = { group = { t } }
    end
    local one = app:signature(t)
    assert.equal("1 a(); 2 * <- f1", table.concat(plan_text.compile(one), "; "))
    assert.same(t, one:to_table())
    assert_refused("the canvas is nested deeper than 500 levels",
      { group = { t } })
  end)

  it("is refused with what a decoder returns besides", function()
    assert_refused("signature: arguments: a table expected, got 254; a call"
      .. " that returns more than the stored canvas, as JSON decoders do, goes"
      .. " in parentheses", { task = "a" }, 254)
    assert_refused("signature: arguments: a table expected, got 254", "a", 254)
  end)

  it("is refused with a part that would be lost", function()
    local one = { task = "a" }
    assert_refused("a stored task: unknown field 'imutable' (did you mean"
      .. " 'immutable'?)", { task = "a", imutable = true })
    assert_refused("a stored task: immutable: true or false expected, got 1",
      { task = "a", immutable = 1 })
    assert_refused("a stored task: over: one of map, starmap expected, got"
      .. ' "mapp"', { task = "a", over = "mapp" })
    assert_refused("a stored task: unknown field 'group'",
      { task = "a", group = { one } })
    assert_refused("a stored chain: unknown field 'body'",
      { chain = { one }, body = one })
    assert_refused("a stored chain: link: a table expected, got true",
      { chain = { one }, link = true })
    assert_refused("the node 'a': after: a table expected, got \"b\"",
      { flow = { a = { canvas = one, after = "b" }, b = { canvas = one } } })
    assert_refused("the node 'a': unknown field 'afer' (did you mean"
      .. " 'after'?)", { flow = { a = { canvas = one, afer = {} } } })
    assert_refused("a stored canvas has one of the fields task, chain, group,"
      .. " chord, flow, got nil", { flow = { a = {} } })
    assert_refused("flow: the node 'a': after: the name of a node: a string"
      .. " expected, got a table",
      { flow = { a = { canvas = one, after = { { 1, "fail" } } } } })
    assert_refused("flow: the node 'a': after: the name of a node: a string"
      .. " expected, got a table",
      { flow = { a = { canvas = one, after = { { "b" } } } } })
  end)
end)
