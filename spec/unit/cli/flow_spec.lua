local flow_dot = require("taskengine.cli.flow_dot")
local flow_tree = require("taskengine.cli.flow_tree")

-- A flow out of lines such as `parse <- 1 2`: the task of each node, and what
-- it waits for.
local function graph_of(lines)
  local graph = { id = "f", name = "", count = #lines, nodes = {}, after = {} }
  for i, line in ipairs(lines) do
    local name, after = line:match("^(%S*) ?<?%-?(.*)$")
    graph.nodes[i] = {
      task = name ~= "*" and name or nil,
      state = "success",
      released = 1,
      ended = 1.5,
    }
    graph.after[i] = {}
    for from in after:gmatch("%d+") do
      table.insert(graph.after[i], math.tointeger(from))
    end
  end
  return graph
end

local function tree_of(lines)
  local shown = {}
  for i, line in ipairs(flow_tree.lines(graph_of(lines))) do
    shown[i] = line:gsub("  SUCCESS  0.500 s$", "")
  end
  return shown
end

-- Edges and labels of a picture.
local function picture_of(lines)
  local names, shown = {}, {}
  for _, line in ipairs(flow_dot.lines(graph_of(lines))) do
    local node, label = line:match("^  (n%d+) %[label=\"(.-)\"")
    local from, to = line:match("^  (n%d+) %-> (n%d+);$")
    if node then
      names[node] = label
    elseif from then
      shown[#shown + 1] = ("%s -> %s"):format(names[from], names[to])
    end
  end
  return shown
end

-- Members of a group of n, each of some steps, and what follows them.
local function group_of(n, steps)
  local lines, last = { "start" }, {}
  for _ = 1, n do
    for k, name in ipairs(steps) do
      lines[#lines + 1] = ("%s <- %d"):format(name, k == 1 and 1 or #lines)
    end
    last[#last + 1] = #lines
  end
  lines[#lines + 1] = "reduce <- " .. table.concat(last, " ")
  return lines
end

describe("The tree of a flow", function()
  it("has the steps of a chain below one another", function()
    assert.same({ "a", "b", "c" }, tree_of { "a", "b <- 1", "c <- 2" })
  end)

  it("has branches, and behind them what waits for all", function()
    assert.same({
      "split",
      "├─ a",
      "│  b",
      "└─ c",
      "join",
      "last",
    }, tree_of {
      "split", "a <- 1", "b <- 2", "c <- 1", "join <- 3 4", "last <- 5",
    })
  end)

  it("has what joins some of the branches together with these", function()
    assert.same({
      "├─ ┬─ a",
      "│  └─ b",
      "│  inner",
      "└─ c",
      "   last",
      "outer",
    }, tree_of { "a", "c", "b", "inner <- 1 3", "last <- 2", "outer <- 4 5" })
  end)

  it("has the groups that a task has added in the one of that task", function()
    assert.same({
      "├─ grow",
      "├─ ┬─ a",
      "│  └─ b",
      "│  (gather)",
      "└─ ┬─ c",
      "   └─ d",
      "   (gather)",
      "total",
      "last",
    }, tree_of {
      "grow", "total <- 1 4 5 7 8", "last <- 2",
      "a", "b", "* <- 4 5", "c", "d", "* <- 7 8",
    })
  end)

  it("folds chords that are alike", function()
    local lines, joins = {}, {}
    for i = 1, 14 do
      lines[#lines + 1], lines[#lines + 2] = "map", "map"
      lines[#lines + 1] = ("join <- %d %d"):format(3 * i - 2, 3 * i - 1)
      joins[i] = 3 * i
    end
    lines[#lines + 1] = "all <- " .. table.concat(joins, " ")
    assert.same({
      "└─ 14 x map > map > join  SUCCESS 42  mean 0.500 s, longest 0.500 s",
      "all",
    }, tree_of(lines))
    assert.same({ "map x 14 -> join x 14", "map x 14 -> join x 14",
      "join x 14 -> all" }, picture_of(lines))
  end)

  it("has branches where a flow begins in several places", function()
    assert.same({ "├─ a", "└─ b", "c", "(gather)" },
      tree_of { "a", "b", "c <- 1 2", "* <- 3" })
  end)

  it("nests branches", function()
    assert.same({
      "a",
      "├─ b",
      "│  ├─ d",
      "│  └─ e",
      "│  f",
      "└─ c",
      "g",
    }, tree_of {
      "a", "b <- 1", "c <- 1", "d <- 2", "e <- 2", "f <- 4 5", "g <- 6 3",
    })
  end)

  it("shows what waits for a node and for one behind that", function()
    assert.same({ "a", "b", "c" }, tree_of { "a", "b <- 1", "c <- 1 2" })
  end)

  it("folds members that are alike, when they are more than 12", function()
    assert.equal(14, #tree_of(group_of(12, { "map" })))
    assert.same({
      "start",
      "└─ 13 x map  SUCCESS 13  mean 0.500 s, longest 0.500 s",
      "reduce",
    }, tree_of(group_of(13, { "map" })))
    assert.same({
      "start",
      "└─ 13 x read > map  SUCCESS 26  mean 0.500 s, longest 0.500 s",
      "reduce",
    }, tree_of(group_of(13, { "read", "map" })))
  end)

  it("leaves those apart that are not alike", function()
    local lines = group_of(13, { "map" })
    lines[4] = "other <- 1"
    assert.same({ "start", "├─ map" }, table.move(tree_of(lines), 1, 2, 1, {}))
    lines = group_of(14, { "map" })
    lines[4] = "other <- 1"
    assert.same({
      "start",
      "├─ 13 x map  SUCCESS 13  mean 0.500 s, longest 0.500 s",
      "└─ other",
      "reduce",
    }, tree_of(lines))
  end)

  it("counts states and says how long", function()
    local graph = graph_of(group_of(14, { "map" }))
    graph.nodes[2].state, graph.nodes[2].ended = "failure", 3
    graph.nodes[3].state, graph.nodes[3].ended = "released", nil
    graph.nodes[16] = { state = "unmet", task = "reduce" }
    assert.same({
      "start  SUCCESS  0.500 s",
      "└─ 14 x map  FAILURE 1, RELEASED 1, SUCCESS 12"
        .. "  mean 0.615 s, longest 2.000 s",
      "reduce  UNMET",
    }, flow_tree.lines(graph))
  end)

  it("calls a node as the flow does", function()
    local graph = graph_of { "load", "save <- 1" }
    graph.nodes[1].label, graph.nodes[2].label = "first", "save"
    assert.same({ "first: load  SUCCESS  0.500 s", "save  SUCCESS  0.500 s" },
      flow_tree.lines(graph))
  end)

  it("folds the steps of a long chain, in time that grows with it", function()
    local lines = { "first" }
    for i = 2, 20000 do
      lines[i] = "add <- " .. i - 1
    end
    lines[20001] = "last <- 20000"
    assert.same({
      "first",
      "add, 19999 steps  SUCCESS 19999  mean 0.500 s, longest 0.500 s",
      "last",
    }, tree_of(lines))
    for i = 3, 20000, 2 do
      lines[i] = "sub <- " .. i - 1
    end
    assert.equal(20001, #tree_of(lines))
  end)

  it("shows a chord of 20,000", function()
    assert.equal(3, #tree_of(group_of(20000, { "map" })))
  end)
end)

describe("The picture of a flow", function()
  it("has nodes and edges", function()
    assert.same({ "a -> b", "a -> c", "b -> gather", "c -> gather" },
      picture_of { "a", "b <- 1", "c <- 1", "* <- 2 3" })
  end)

  it("folds what is alike, branches and steps", function()
    assert.same({ "start -> map x 13", "map x 13 -> reduce" },
      picture_of(group_of(13, { "map" })))
    assert.same({
      "start -> read x 13", "read x 13 -> map x 13", "map x 13 -> reduce",
    }, picture_of(group_of(13, { "read", "map" })))
    local lines = { "first" }
    for i = 2, 41 do
      lines[i] = "add <- " .. i - 1
    end
    assert.same({ "first -> add x 40 in a row" }, picture_of(lines))
  end)

  it("shows the worst state of what it folds, and any name", function()
    local graph = graph_of(group_of(13, { "map" }))
    graph.nodes[5].state = "failure"
    graph.nodes[1].label = 'a "b"\n'
    local text = table.concat(flow_dot.lines(graph), "\n")
    assert.matches('n2 [label="map x 13", shape=box, fillcolor=salmon];', text,
      1, true)
    assert.matches('n1 [label="a \\"b\\"?: start"', text, 1, true)
  end)
end)
