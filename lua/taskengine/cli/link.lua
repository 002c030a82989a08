--- The broker of a command that sends or asks something.
-- @module taskengine.cli.link

local broker = require("taskengine.broker")
local client = require("taskengine.client")
local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local loader = require("taskengine.loader")
local mode = require("taskengine.mode")
local places = require("taskengine.cli.places")
local registry = require("taskengine.registry")
local scheduler = require("taskengine.scheduler")

local link = {}

--- The option that takes the settings of an app.
link.FILE = {
  short = "f", long = "file", value = "FILE",
  help = "take broker and namespace from the app in this Lua file",
}

-- Loads a file. What it prints meanwhile is none of the command's data.
local function run_beside_stdout(path)
  local print_before, output_before = _G.print, io.output()
  io.output(io.stderr)
  function _G.print(...)
    local texts = table.pack(...)
    for i = 1, texts.n do
      texts[i] = tostring(texts[i])
    end
    io.write(table.concat(texts, "\t"), "\n")
  end
  local ok, problem = loader.run(path, {})
  _G.print = print_before
  io.output(output_before)
  return ok, problem
end

-- Its first app; the file is loaded and its main is not run.
local function load_app(path)
  common.check_file(path)
  mode.name = "ask"
  loader.add_paths(path, places.modules())
  local ok, problem = run_beside_stdout(path)
  if not ok then
    exit.usage(problem)
  elseif #registry.apps == 0 then
    exit.usage(path .. ": no app is made there")
  end
  return registry.apps[1]
end

-- Why an embedded Redis cannot be had is known at once, and whether that is a
-- matter of usage.
local function check_embedded(url, timeout_ms)
  local parsed = core.url.parse(url)
  if parsed.scheme ~= "embedded" then
    return
  end
  local embedded <close> = core.embedded.new(parsed.name)
  local answers, why, code = scheduler.await("the embedded Redis",
    function(wake)
      embedded:ensure(timeout_ms, wake)
    end)
  if not answers then
    exit.raise(code == "EACCES" and exit.USAGE or exit.UNREACHABLE,
      ("%s: %s"):format(core.url.masked(url), errors.sentence(why)),
      common.advice_on_embedded(why))
  end
end

--- Checks that an embedded Redis has a place, before anybody needs it.
-- @tparam string url
-- @tparam number timeout_ms
-- @raise an exit
function link.check_place(url, timeout_ms)
  local parsed = core.url.parse(url)
  if parsed.scheme == "embedded" and not core.embedded.paths(parsed.name) then
    check_embedded(url, timeout_ms) -- it says why
  end
end

--- The settings of a command that sends or asks something.
-- @tparam table given options: `broker`, `config`, `file`
-- @treturn table
-- @raise an exit when one of them is wrong
function link.settings(given)
  common.apply_settings(given)
  local app = given.file and load_app(given.file)
  return common.settings(app and app.own)
end

--- Connects.
-- @tparam table given options: `broker`, `config`, `file`
-- @treturn Client
-- @raise an exit when a setting is wrong, or an embedded Redis cannot be had
function link.open(given)
  common.open_loop()
  local settings = link.settings(given)
  check_embedded(settings.broker or broker.DEFAULT,
    settings.broker_timeout * 1000)
  return client.new(broker.open(settings), settings)
end

-- What the counters that `te1_status` lists are called here. In Redis `crashes`
-- is `lost`, which people take for lost tasks.
local COUNTERS <const> = {
  "enqueued", "done", "failed", "revoked", "expired", "redelivered", "crashes",
  "requeued", "retried",
}

local function read_queue(row)
  local queue = {
    name = row[1],
    ready = row[2] + row[3],
    workers = row[4],
  }
  for i, name in ipairs(COUNTERS) do
    queue[name] = row[4 + i]
  end
  return queue
end

-- What a worker says of itself came out of Redis: anything may be in there.
local function read_worker(row, now_ms)
  local about = core.codec.decode(row[4])
  if type(about) ~= "table" then
    about = {}
  end
  return {
    id = row[1],
    alive = (tonumber(row[2]) or math.huge) > now_ms,
    in_flight = row[3],
    about = about,
  }
end

--- Reads what `te1_status` replies.
-- @tparam table reply
-- @treturn table `due`, `dead`, `malformed` (of which `malformed_dropped` more
-- found no room), and `buried`: revoked, and dropped when they come out of
-- their queue, where they count as ready; `queues`, each
-- with `name`, `ready`, `workers` and counters; `workers`, each with `id`,
-- `alive`, `in_flight` and what it says: `about`
function link.read_status(reply)
  local status = {
    due = reply[2],
    dead = reply[3],
    malformed = reply[4],
    buried = reply[7],
    malformed_dropped = reply[8] or 0, -- older functions do not say
    queues = {},
    workers = {},
  }
  for i, row in ipairs(reply[5]) do
    status.queues[i] = read_queue(row)
  end
  for i, row in ipairs(reply[6]) do
    status.workers[i] = read_worker(row, reply[1])
  end
  return status
end

--- How many tasks have not ended.
-- @tparam table status see @{link.read_status}
-- @tparam[opt] table queues the set of those that count; all when missing
-- @treturn int
function link.count_unfinished(status, queues)
  local count = status.due - status.buried
  for _, queue in ipairs(status.queues) do
    if not queues or queues[queue.name] then
      count = count + queue.ready
    end
  end
  for _, worker in ipairs(status.workers) do
    count = count + worker.in_flight
  end
  return count
end

--- What Redis knows of queues and workers.
-- @tparam Client way
-- @treturn table see @{link.read_status}
-- @raise TaskError of kind BrokerUnavailable
function link.status(way)
  return link.read_status(way:ask("te1_status", {}))
end

return link
