local compile = require("taskengine.canvas.compile")
local plan_text = require("spec.support.plan_text")
local te = require("taskengine")

describe("taskengine.canvas.compile", function()
  local app, add, sum, err

  before_each(function()
    app = te.app("spec")
    add = app:task("add", function() end)
    sum = app:task("sum", function() end)
    err = app:task("err", function() end)
  end)

  local function assert_plan(expected, one)
    local lines, result = plan_text.compile(one)
    assert.same(expected, lines)
    return result
  end

  it("makes a chain of what follows one another", function()
    local result = assert_plan({
      "1 add(4, 6)",
      "2 add(10) <- f1",
      "3 add(5) <- f2",
    }, te.chain(add:s(4, 6), add:s(10), add:s(5)))
    assert.same({ "one", 3 }, { result.kind, result.node })
  end)

  it("makes one node of a chain of one", function()
    local result = assert_plan({ "1 add(1)" }, te.chain(add:s(1)))
    assert.same({ "one", 1 }, { result.kind, result.node })
  end)

  it("takes no value along to what is immutable", function()
    assert_plan({ "1 add(1)", "2 add(2) <- s1 takes " },
      add:s(1) | add:si(2))
  end)

  it("gathers a group at the end, in one node", function()
    local result = assert_plan({
      "1 add(1)", "2 add(2)", "3 * <- f1-2",
    }, te.group { add:s(1), add:s(2) })
    assert.same({ "group", 3, 2 },
      { result.kind, result.node, result.outlet.count })
  end)

  it("makes a table of one for a group of one", function()
    assert_plan({ "1 add(1)", "2 sum() <- f1 [1]" },
      te.group { add:s(1) } | sum:s())
  end)

  it("makes a chord of a group with something behind it", function()
    local chord = { "1 add(1)", "2 add(2)", "3 sum(9) <- f1-2 [2]" }
    assert_plan(chord, te.group { add:s(1), add:s(2) } | sum:s(9))
    assert_plan(chord, te.chord({ add:s(1), add:s(2) }, sum:s(9)))
  end)

  it("makes a group part of the group that it stands in", function()
    assert_plan({
      "1 add(1)", "2 add(2)", "3 add(3)", "4 sum() <- f1-3 [3]",
    }, te.group { te.group { add:s(1), add:s(2) }, add:s(3) } | sum:s())
  end)

  it("keeps the table of a chain in a group that ends with one", function()
    assert_plan({
      "1 add(1)",
      "2 add(2) <- f1", "3 add(3) <- f1", "4 * <- f2-3",
      "5 add(4)",
      "6 sum() <- f4-5 [2]",
    }, te.group {
      add:s(1) | te.group { add:s(2), add:s(3) }, add:s(4),
    } | sum:s())
  end)

  it("counts a chord in a chord by its body", function()
    assert_plan({
      "1 add(1)", "2 add(2)", "3 sum() <- f1-2 [2]",
      "4 add(3)",
      "5 sum(1) <- f3-4 [2]",
    }, te.chord({ te.chord({ add:s(1), add:s(2) }, sum:s()), add:s(3) },
      sum:s(1)))
  end)

  it("puts one node between a group and a group", function()
    assert_plan({
      "1 add(1)", "2 add(2)", "3 * <- f1-2",
      "4 sum(1) <- f3", "5 sum(2) <- f3", "6 * <- f4-5",
    }, te.group { add:s(1), add:s(2) } | te.group { sum:s(1), sum:s(2) })
  end)

  it("lets an empty group be a table that is there at once", function()
    assert_plan({ "1 *", "2 sum() <- f1" }, te.group {} | sum:s())
    assert_plan({ "1 add(1)", "2 * <- s1 takes ", "3 sum() <- f2" },
      te.chain(add:s(1), te.group {}, sum:s()))
  end)

  it("takes nothing from an empty group right in a group", function()
    assert_plan({ "1 add(1)", "2 * <- f1" },
      te.group { te.group {}, add:s(1), te.group { te.group {} } })
    assert_plan({ "1 add(1)", "2 * <- s1 takes ", "3 sum() <- f2" },
      te.chain(add:s(1), te.group { te.group {}, te.group {} }, sum:s()))
    assert_plan({ "1 *", "2 sum() <- f1", "3 add(1)", "4 * <- f3" },
      te.group { te.group {}:link(sum:s()), add:s(1) })
  end)

  it("lets callbacks follow without changing the result", function()
    local result = assert_plan({
      "1 add(1)", "2 add(2) <- f1", "3 err() <- e1 [e2]", "4 sum() <- f1",
    }, add:s(1):link(add:s(2)):on_error(err:s()) | sum:s())
    assert.equal(4, result.node)
  end)

  it("runs an error callback for a group, once", function()
    assert_plan({
      "1 add(1)", "2 add(2)", "3 * <- f1-2", "4 err() <- e3 [e1]",
      "5 sum() <- f1-2 [2]",
    }, te.group { add:s(1), add:s(2) }:on_error(err:s()) | sum:s())
  end)

  it("takes arguments in front where it begins", function()
    assert_plan({ "1 add(7, 1)", "2 add(2) <- f1" },
      (add:s(1) | add:s(2)):clone { 7 })
    assert_plan({ "1 add(7, 1)", "2 add(2)", "3 * <- f1-2" },
      te.group { add:s(1), add:si(2) }:clone { 7 })
  end)

  it("compiles a flow, with a policy for each edge", function()
    local result = assert_plan({
      "1 add(1)",
      "2 add() <- f1",
      "3 sum(5) <- i1 f2 takes f2 i1 [0 i2]",
      "4 err() <- c2 [c2]",
    }, te.flow {
      name = "etl",
      nodes = {
        a = { add:s(1) },
        b = { add:s(), after = { "a" } },
        c = { sum:s(5), after = { "b", a = "ignore" } },
        d = { err:s(), after = { b = "continue" } },
      },
    })
    assert.same({ "flow", { "c", "d" } }, { result.kind, result.names })
  end)

  it("gives a flow inside of others by the names of its sinks", function()
    local made = compile.plan(te.flow {
      nodes = { a = { add:s(1) }, b = { add:s(2) } },
    } | te.group { sum:s(1), sum:s(2) })
    assert.same({
      "1 add(1)", "2 add(2)", "3 * <- f1-2",
      "4 sum(1) <- f3", "5 sum(2) <- f3", "6 * <- f4-5",
    }, plan_text.of(made))
    assert.same({ "a", "b" }, made.names[3])
  end)

  it("hands options on, and the time to begin to the first", function()
    local made = compile.plan((add:s(1) | add:s(2):set { queue = "own" })
      :set { queue = "all", countdown = 5 })
    assert.same({ queue = "all", countdown = 5 }, made.options[1])
    assert.same({ queue = "own" }, made.options[2])
  end)

  it("lets a part's own end stand for that of the whole", function()
    local made = compile.plan(te.group {
      add:s(1):set { deadline = 5 }, add:s(2), add:s(3):set { expires = 7 },
    }:set { expires = 3600 })
    assert.same({ deadline = 5 }, made.options[1])
    assert.same({ expires = 3600 }, made.options[2])
    assert.same({ expires = 7 }, made.options[3])
  end)

  it("refuses an eta behind others", function()
    assert.error_matches(function()
      compile.plan(add:s(1) | add:s(2):set { eta = 4000000000 })
    end, "'add' has an eta, but it runs behind others", 1, true)
  end)

  it("refuses a unique task as a part of it", function()
    assert.error_matches(function()
      compile.plan(add:s(1):set { unique = true } | add:s(2))
    end, "'add' cannot be unique in a canvas: each canvas has tasks of its own;"
      .. " leave unique away, or send it alone", 1, true)
  end)

  it("refuses tasks of two apps, and names them", function()
    local mul = te.app("other"):task("mul", function() end)
    assert.error_matches(function()
      compile.plan(add:s(1) | mul:s(2))
    end, "the canvas mixes apps: 'add' belongs to app spec, 'mul' to app other",
      1, true)
  end)

  it("refuses a chord without a body", function()
    assert.error_matches(function()
      compile.plan(te.chord { add:s(1) })
    end, "a chord has no body yet", 1, true)
  end)

  it("refuses a canvas with too many tasks", function()
    local max = compile.NODES_MAX
    finally(function()
      compile.NODES_MAX = max
    end)
    compile.NODES_MAX = 3
    local list = { add:s(1), add:s(2), add:s(3) }
    assert.equal(4, compile.plan(te.group(list)).count)
    assert.error_matches(function()
      list[4] = add:s(4)
      compile.plan(te.group(list))
    end, "the canvas has more than 3 tasks", 1, true)
  end)

  it("refuses what is nested without end", function()
    local one = add:s(1)
    for _ = 1, 600 do
      one = te.chord({ one }, sum:s())
    end
    assert.error_matches(function()
      compile.plan(one)
    end, "nested deeper than 500 levels", 1, true)
  end)

  it("nests a hundred chords in one another", function()
    local one = add:s(1)
    for _ = 1, 100 do
      one = te.chord({ one, add:s(2) }, sum:s())
    end
    assert.equal(201, compile.plan(one).count)
  end)

  describe("of 100,000 tasks", function()
    local COUNT <const> = 100000

    -- How many different strings stand there.
    local function count_kinds(list, count)
      local seen, kinds = {}, 0
      for i = 1, count do
        if list[i] and not seen[list[i]] then
          seen[list[i]], kinds = true, kinds + 1
        end
      end
      return kinds
    end

    it("has one edge and one input for all steps of a chain", function()
      local one = add:s(1, 1)
      for _ = 2, COUNT do
        one = one | add:s(1)
      end
      local made = compile.plan(one)
      assert.same({ COUNT, 1, 1 }, { made.count,
        count_kinds(made.out, COUNT), count_kinds(made.inputs, COUNT) })
    end)

    it("has one edge for all members of a chord", function()
      local list = {}
      for i = 1, COUNT do
        list[i] = add:s(i, i)
      end
      local made = compile.plan(te.group(list) | sum:s())
      assert.same({ COUNT + 1, 1, COUNT }, { made.count,
        count_kinds(made.out, COUNT), made.need[COUNT + 1] })
      assert.equal(10, #made.inputs[COUNT + 1])
    end)

    local function chord_of(size)
      local list = {}
      for i = 1, size do
        list[i] = add:s(i)
      end
      return te.chord(list, sum:s())
    end

    it("has one edge for all members of a small chord", function()
      for size = 2, 16 do
        local made = compile.plan(chord_of(size))
        assert.equal(1, count_kinds(made.out, size), size)
      end
    end)

    it("has edges of no place for a small chord that is added", function()
      local made = compile.plan(chord_of(3), { joins = true })
      assert.equal(3, count_kinds(made.out, 3))
    end)

    it("has few edges for many small chords", function()
      local list = {}
      for i = 1, 1000 do
        list[i] = chord_of(3)
      end
      local made = compile.plan(te.group(list))
      -- One for each of the first 64, three for all others, that of all 1,000.
      assert.equal(64 + 3 + 1, count_kinds(made.out, 4000))
    end)
  end)
end)
