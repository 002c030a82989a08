--- Unique tasks: what makes two calls one task.
--
-- A call of a unique task has a digest of the task's name and of the arguments,
-- or of what the key of its own says of them. Redis makes no second task of
-- the same digest while the first holds its lock: see docs/protocol.md, which
-- says what the digest is made of.
-- @module taskengine.unique

local caller = require("taskengine.caller")
local canonical = require("taskengine.canonical")
local check = require("taskengine.check")
local core = require("taskengine.core")
local errors = require("taskengine.errors")

local unique = {}

local DIGEST_BYTES <const> = 16
-- What is deeper, or goes round, cannot travel: packing it says so.
local DEPTH_MAX <const> = 100
-- Behind the name of the task, in which they cannot be.
local OF_ARGS <const>, OF_KEY <const>, OVER <const> = "\0", "\1", "\2"

-- The ends of a lock, by name: whether it goes when the task is started.
local RELEASES <const> = { started = true, finished = false }

local is_release = check.one_of { "started", "finished" }
-- A header has room for milliseconds, and a lock for a century.
local is_time = check.seconds(0.001, 100 * 366 * 86400)

--- Takes what the option `unique` may be.
-- @function unique.accepts
unique.accepts = check.rule("true, false or a table", function(value)
  return type(value) == "boolean" or type(value) == "table"
end)

--- What such a table may hold, see @{taskengine.options}.
unique.SPEC = {
  known = {
    key = check.rule("a function or a string", function(value)
      return type(value) == "function" or type(value) == "string"
    end),
    for_s = is_time,
    release = is_release,
    ["until"] = is_release,
  },
  later = {},
}

--- How a task is unique.
-- @table Rule
-- @tfield ?function|string key
-- @tfield string lock as te1_enqueue takes it
-- @tfield boolean ends_at_start

--- Reads the option.
-- @tparam string name of the task
-- @tparam ?boolean|table option that was checked
-- @treturn ?Rule nil when the task is not unique
-- @raise when both names of one field are there
function unique.rule(name, option)
  if not option then
    return nil
  end
  local given = option == true and {} or option
  if given.release and given["until"] then
    caller.raise(("task '%s': unique: release and until say the same, one will"
      .. " do"):format(name))
  end
  local for_s = given.for_s
  return {
    key = given.key,
    lock = "l" .. (for_s and ("%d"):format(math.ceil(for_s * 1000)) or ""),
    ends_at_start = RELEASES[given.release or given["until"] or "finished"],
  }
end

--- What other programs may know of the option: nothing where the task's own
-- key is a function, which they lack. Who sends by name says himself what is
-- unique.
-- @tparam ?boolean|table option that was checked
-- @treturn ?boolean|table
function unique.published(option)
  if type(option) == "table" and type(option.key) == "function" then
    return nil
  end
  return option
end

local function canonical_args(args)
  local parts, n = {}, args.n or #args
  for i = 1, n do
    parts[i] = canonical.encode(args[i], DEPTH_MAX)
  end
  return table.concat(parts)
end

-- What the task's own key says of a call.
local function key_of(rule, name, args)
  local key = rule.key
  if type(key) == "function" then
    key = key(table.unpack(args, 1, args.n or #args))
    if key == nil then
      caller.raise(("task '%s': the key of a unique task returned nothing, it"
        .. " has to say which tasks are the same"):format(name))
    end
  end
  local bytes, why = core.codec.encode(key, "key")
  if not bytes then
    caller.raise(("task '%s': the key of a unique task: %s"):format(name,
      errors.sentence(why)))
  end
  return canonical.encode(key, DEPTH_MAX)
end

--- What a call has in common with those that are the same task.
-- @tparam Rule rule
-- @tparam string name of the task
-- @tparam table args
-- @tparam ?string over what the task is called for, see @{taskengine.over}: a
-- call for each of a list is another than one with that list
-- @treturn string 16 bytes
-- @raise when the task's own key is none; and what it raises itself
function unique.digest(rule, name, args, over)
  local what = over and name .. OVER .. over or name
  local text = rule.key and what .. OF_KEY .. key_of(rule, name, args)
    or what .. OF_ARGS .. canonical_args(args)
  return core.sys.sha256(text):sub(1, DIGEST_BYTES)
end

return unique
