--- `taskengine flow ID`: a flow, its nodes and how they stand.
-- @module taskengine.cli.flow

local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local flow_dot = require("taskengine.cli.flow_dot")
local flow_graph = require("taskengine.cli.flow_graph")
local flow_notes = require("taskengine.cli.flow_notes")
local flow_tree = require("taskengine.cli.flow_tree")
local handle = require("taskengine.canvas.handle")
local header = require("taskengine.header")
local link = require("taskengine.cli.link")
local record = require("taskengine.record")
local say = require("taskengine.cli.say")
local show = require("taskengine.cli.show")

local flow = {}

flow.spec = {
  name = "flow",
  usage = "flow ID [OPTIONS]",
  about = "Shows a chain, group, chord or flow that was sent: what follows"
    .. " what, how each task stands, and how long it took from when it could"
    .. " run to its end, why what failed did, and whether it waits for a queue"
    .. " that no worker serves. The id is that of the flow,"
    .. " or of any task in it. More than 12 that are alike are one line.",
  operands = { "ID" },
  options = {
    {
      long = "dot",
      help = "print it for Graphviz: taskengine flow ID --dot | dot -Tsvg",
    },
    {
      long = "retry-failed",
      help = "run again what failed, and what did not run because of that",
    },
    link.FILE,
    common.BROKER,
    common.CONFIG,
    common.JSON,
  },
  examples = {
    "taskengine flow dUJ3kxQ8aWbL00000000",
    "taskengine flow dUJ3kxQ8aWbL00000000 --dot | dot -Tsvg > flow.svg",
    "taskengine flow dUJ3kxQ8aWbL00000000 --retry-failed",
  },
}

-- With --json there is a document all the same.
local function raise_unknown(given, fields)
  if given.json then
    fields.id = given[1]
    show.json(fields)
  end
  exit.raise(exit.FAILED, ("nothing is known of a flow %s"):format(given[1]),
    "flows are kept as long as results are (result_expires), and only chains,"
    .. " groups, chords and flows have one")
end

local WHY_NOT <const> = {
  running = "it has not ended yet",
  nothing = "nothing in it failed",
  incomplete = "not all of it was sent yet",
}

local function retry(way, given)
  local one = handle.of(way, given[1])
  local ok, why = one:retry()
  if why == "missing" then
    raise_unknown(given, { retried = false, reason = why })
  elseif given.json then
    show.json { id = one.id, retried = ok, reason = why }
  elseif ok then
    io.write("what failed runs again\n")
  else
    say.note(("%s: nothing is run again: %s"):format(one.id, WHY_NOT[why]
      or why))
  end
  return ok and exit.OK or exit.FAILED
end

local function write_json(graph)
  local nodes = {}
  for i, node in ipairs(graph.nodes) do
    nodes[i] = {
      id = core.envelope.id(header.producer(graph.id), i),
      name = node.label,
      task = node.task,
      state = node.state,
      released = node.released,
      ended = node.ended,
      after = graph.after[i],
    }
  end
  show.json {
    id = graph.id,
    name = graph.name ~= "" and graph.name or nil,
    state = graph.state,
    left = graph.left,
    nodes = nodes,
  }
end

-- What comes from Redis is not for a terminal to obey, nor to break a line.
local function on_a_line(text)
  return (say.clean(text):gsub("[\n\t]", " "))
end

local function write_lines(lines)
  for _, line in ipairs(lines) do
    io.write(on_a_line(line), "\n")
  end
end

local FAILURES_MAX <const> = 12

-- The numbers of nodes in a state, the first of them; and how many there are.
local function nodes_in(graph, state)
  local list, count = {}, 0
  for i, node in ipairs(graph.nodes) do
    if node.state == state then
      count = count + 1
      list[count] = count <= FAILURES_MAX and i or nil
    end
  end
  return list, count
end

-- What failed, and why. Where nothing has by itself, a flow to which a task
-- had delegated failed: that is the cause of what could not run.
local function failure_lines(way, graph)
  local nodes, count = nodes_in(graph, "failure")
  if count == 0 then
    nodes = { nodes_in(graph, "unmet")[1] }
  end
  local producer, lines = header.producer(graph.id), {}
  for _, i in ipairs(nodes) do
    local id = core.envelope.id(producer, i)
    local e = record.read(way:outcome(id), id, graph.nodes[i].task).error
    local cause = e and errors.cause(e)
    lines[#lines + 1] = cause and ("failed: %s%s: %s: %s"):format(
      cause.name and cause.name .. " " or "", cause.id, cause.kind,
      cause.message)
  end
  lines[#lines + 1] = count > #nodes and #nodes > 0
    and ("failed: %d more"):format(count - #nodes) or nil
  return lines
end

local function write_tree(way, graph)
  local is_whole = graph.state ~= "incomplete"
  io.write(("%s%s  %s, %d of %d %s\n"):format(
    graph.name ~= "" and on_a_line(graph.name) .. "  " or "", graph.id,
    graph.state,
    is_whole and graph.count - graph.left or graph.sent, graph.count,
    is_whole and "ended" or "sent"))
  if is_whole then
    write_lines(flow_tree.lines(graph))
    write_lines(failure_lines(way, graph))
  end
  write_lines(flow_notes.lines(way, graph))
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function flow.run(given)
  local id = given[1]
  if not core.envelope.seq(id) then
    exit.usage(("flow: ID: '%s' is none of the engine's ids"):format(
      say.clean(id)), "it is the id of a flow's result, or of any task in it")
  elseif given.dot and (given.json or given.retry_failed) then
    exit.usage("flow: --dot stands alone")
  end
  local way = link.open(given)
  if given.retry_failed then
    return retry(way, given)
  end
  local graph = flow_graph.read(way, id)
  if not graph then
    raise_unknown(given, { state = "unknown" })
  elseif given.json then
    write_json(graph)
  elseif given.dot then
    write_lines(flow_dot.lines(graph))
  else
    write_tree(way, graph)
  end
  return exit.OK
end

return flow
