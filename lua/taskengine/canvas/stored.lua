--- A canvas as a plain table, and back.
--
-- Such a table holds strings, numbers, booleans, tables and te.null only, as
-- far as the arguments do: it can be stored as JSON or MessagePack where
-- te.null is written as null, or nil, and read as te.null.
-- @module taskengine.canvas.stored

local caller = require("taskengine.caller")
local check = require("taskengine.check")
local compile = require("taskengine.canvas.compile")
local core = require("taskengine.core")
local options = require("taskengine.options")

local stored = {}

local NULL <const> = core.codec.null

local write

local function write_all(list, depth, count)
  local out = {}
  for i = 1, count or #list do
    out[i] = write(list[i], depth)
  end
  return out
end

-- Without holes: te.null among the arguments is nil.
local function write_args(args)
  local out = {}
  for i = 1, args.n or #args do
    out[i] = args[i] == nil and NULL or args[i]
  end
  return out
end

local function read_args(args)
  local out = { n = #args }
  for i = 1, #args do
    if args[i] ~= NULL then
      out[i] = args[i]
    end
  end
  return out
end

-- In their order: a name alone, or a name and its policy.
local function write_after(after)
  local out = {}
  for i, entry in ipairs(after) do
    out[i] = entry.policy and { entry.name, entry.policy } or entry.name
  end
  return out
end

local function write_nodes(nodes, depth)
  local out = {}
  for _, node in ipairs(nodes) do
    out[node.name] = {
      canvas = write(node.canvas, depth),
      after = write_after(node.after),
    }
  end
  return out
end

local function write_task(one, out)
  out.task, out.args = one.task.name, write_args(one.args)
  out.immutable, out.over = one.is_immutable, one.over
end

local function write_chain(one, out, depth)
  out.chain = write_all(one.steps, depth, one.count)
end

local function write_group(one, out, depth)
  out.group = write_all(one.members, depth)
end

local function write_chord(one, out, depth)
  out.chord = write(one.header, depth)
  out.body = one.body and write(one.body, depth)
end

local function write_flow(one, out, depth)
  out.flow, out.name = write_nodes(one.nodes, depth), one.name
end

local WRITE <const> = {
  task = write_task, chain = write_chain, group = write_group,
  chord = write_chord, flow = write_flow,
}

-- It is a part of what lies so deep.
function write(one, depth)
  depth = depth + 1
  compile.check_depth(depth)
  local out = {}
  WRITE[one.kind](one, out, depth)
  out.front = one.front and write_args(one.front)
  out.options = one.options and options.merge({}, one.options)
  out.link = one.links and write_all(one.links, depth)
  out.link_error = one.errbacks and write_all(one.errbacks, depth)
  return out
end

--- Writes a canvas.
-- @tparam Canvas one
-- @treturn table
-- @raise when it is nested too deeply
function stored.write(one)
  return write(one, 0)
end

local KINDS <const> = { "task", "chain", "group", "chord", "flow" }

-- What every kind may have.
local COMMON <const> = {
  front = check.table,
  link = check.table,
  link_error = check.table,
  options = check.table,
}

local function fields(own)
  for name, accepts in pairs(COMMON) do
    own[name] = accepts
  end
  return { known = own, later = {}, noun = "field" }
end

local FIELDS <const> = {
  task = fields {
    task = check.name,
    args = check.table,
    immutable = check.boolean,
    over = check.one_of { "map", "starmap" },
  },
  chain = fields { chain = check.table },
  group = fields { group = check.table },
  chord = fields { chord = check.table, body = check.table },
  flow = fields { flow = check.table, name = check.name },
}

local NODE <const> = {
  known = { canvas = check.table, after = check.table },
  later = {},
  noun = "field",
}

local function kind_of(given)
  for _, kind in ipairs(KINDS) do
    if given[kind] ~= nil then
      return kind
    end
  end
end

local read

local function read_all(make, given, depth)
  local list = {}
  for i = 1, #given do
    list[i] = read(make, given[i], depth)
  end
  return list
end

local function read_task(make, given)
  return make.task(given.task, read_args(given.args or {}),
    given.immutable == true, given.over)
end

local function read_chain(make, given, depth)
  return make.chain(read_all(make, given.chain, depth))
end

local function read_group(make, given, depth)
  return make.group(read_all(make, given.group, depth))
end

local function read_chord(make, given, depth)
  return make.chord(read(make, given.chord, depth),
    given.body and read(make, given.body, depth))
end

-- What a node waits for, in the words of te.flow.
local function read_after(after)
  local out = {}
  for _, entry in ipairs(after or {}) do
    if type(entry) == "table" and type(entry[1]) == "string"
      and entry[2] ~= nil then
      out[entry[1]] = entry[2]
    else
      out[#out + 1] = entry
    end
  end
  return out
end

local function read_flow(make, given, depth)
  local nodes = {}
  for name, node in pairs(given.flow) do
    local where = ("the node '%s'"):format(tostring(name))
    if type(node) ~= "table" then
      caller.raise(check.problem(where, check.table, node))
    end
    options.check(where, NODE, node)
    nodes[name] = {
      read(make, node.canvas, depth),
      after = read_after(node.after),
    }
  end
  return make.flow { name = given.name, nodes = nodes }
end

local READ <const> = {
  task = read_task, chain = read_chain, group = read_group,
  chord = read_chord, flow = read_flow,
}

-- It is a part of what lies so deep.
function read(make, given, depth)
  depth = depth + 1
  compile.check_depth(depth)
  local kind = type(given) == "table" and kind_of(given)
  if not kind then
    caller.raise("a stored canvas has one of the fields "
      .. table.concat(KINDS, ", ") .. ", got " .. check.describe(given))
  end
  options.check("a stored " .. kind, FIELDS[kind], given)
  local one = READ[kind](make, given, depth)
  if given.front then
    one = one:clone(read_args(given.front))
  end
  if given.options then
    one:set(given.options)
  end
  if given.link then
    one:link(read_all(make, given.link, depth))
  end
  if given.link_error then
    one:link_error(read_all(make, given.link_error, depth))
  end
  return one
end

--- Reads a canvas that was written so.
-- @tparam table make functions `task` (name, args, is_immutable, over),
-- `chain`, `group`, `chord`, `flow`
-- @tparam table given
-- @treturn Canvas
-- @raise a sentence when that is no stored canvas, or nested too deeply
function stored.read(make, given)
  return read(make, given, 0)
end

return stored
