local te = require("taskengine")

describe("te.flow", function()
  local add = te.app("spec"):task("add", function() end)

  local function order_of(nodes)
    local names = {}
    for i, node in ipairs(te.flow { nodes = nodes }.nodes) do
      names[i] = node.name
    end
    return table.concat(names, " ")
  end

  local function assert_refused(text, about)
    local ok, problem = pcall(te.flow, about)
    assert.is_false(ok)
    assert.matches("graph_spec.lua:%d+: flow: ", problem)
    assert.equal(text, problem:match(": flow: (.*)"))
  end

  local function assert_node_refused(text, node)
    assert_refused(text, { nodes = { a = node } })
  end

  it("puts each node behind what it waits for", function()
    assert.equal("c a b", order_of {
      a = { add:s(), after = { "c" } },
      b = { add:s(), after = { "a", c = "ignore" } },
      c = { add:s() },
    })
  end)

  it("names the cycle", function()
    assert_refused(
      "a cycle, in which each waits for the next: b -> d -> c -> b", {
        nodes = {
          a = { add:s() },
          b = { add:s(), after = { "a", "d" } },
          c = { add:s(), after = { "b" } },
          d = { add:s(), after = { c = "continue" } },
          e = { add:s(), after = { "d" } },
        },
      })
    assert_refused("a cycle, in which each waits for the next: a -> a", {
      nodes = { a = { add:s(), after = { "a" } } },
    })
  end)

  it("names what is not there, and what may be meant", function()
    assert_refused("the node 'a' waits for 'loads', which is not in the flow"
      .. " (did you mean 'load'?)", {
        nodes = {
          load = { add:s() },
          a = { add:s(), after = { "loads" } },
        },
      })
  end)

  it("refuses what is no node", function()
    assert_refused("nodes: at least one expected", { nodes = {} })
    assert_refused("nodes: a table expected, got nil", {})
    assert_refused("its description: a table expected, got 7", 7)
    assert_refused("unknown field 'node' (did you mean 'nodes'?)",
      { node = {}, nodes = { a = { add:s() } } })
    assert_refused("name: a name (1 to 128 of the characters A-Z a-z 0-9 _ . :"
      .. ' -) expected, got "a b"',
      { name = "a b", nodes = { a = { add:s() } } })
    assert_refused("the name of a node: a string expected, got 1",
      { nodes = { { add:s() } } })
    assert_node_refused("the node 'a': a signature expected as its first"
      .. " element, got task add; a call of it is written add:s(...)", { add })
    assert_node_refused("the node 'a': a table expected, with the signature as"
      .. " its first element: { add:s(...), after = { ... } }", add:s(1))
    assert_node_refused("the node 'a': a table expected, got a function", print)
    assert_node_refused("the node 'a': unknown field 'afte' (did you"
      .. " mean 'after'?)", { add:s(), afte = {} })
    assert_node_refused("the node 'a': after: a table expected, got \"b\"",
      { add:s(), after = "b" })
    assert_node_refused("the node 'a': after: the name of a node: a string"
      .. " expected, got 4", { add:s(), after = { 4 } })
    assert_node_refused("the node 'a': after: the policy for 'b': one of fail,"
      .. " continue, ignore expected, got \"go on\"",
      { add:s(), after = { b = "go on" } })
    assert_node_refused("the node 'a': after: 'b' stands there twice",
      { add:s(), after = { "b", b = "ignore" } })
  end)
end)
