--- What a script is told about the queues that it uses: which of them nobody
-- serves, and what an earlier run has left there.
-- @module taskengine.cli.outlook

local broker = require("taskengine.broker")
local client = require("taskengine.client")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local link = require("taskengine.cli.link")
local message = require("taskengine.message")
local roster = require("taskengine.cli.roster")
local say = require("taskengine.cli.say")

local outlook = {}

local TIMEOUT_MS <const> = 10000

--- The queues of a script.
-- @type Outlook
local Outlook = {}
Outlook.__index = Outlook

--- Makes one.
-- @treturn Outlook
function outlook.new()
  return setmetatable({
    used = {}, -- queue to the requests over which tasks went there
    own = nil, -- the set of queues that the script's worker serves
  }, Outlook)
end

-- What the worker of a script serves, as it decides that itself.
local function queues_of(tasks)
  local queues = {}
  for _, task in pairs(tasks) do
    queues[message.QUEUE] = true
    queues[task.options.queue or message.QUEUE] = true
  end
  return queues
end

local NO_WORKER <const> = "this script defines no tasks, so it has no worker of"
  .. " its own\n"
local OWN_WORKER <const> = "the script's own worker serves default, and the"
  .. " queues that its tasks name:\n  app:task(NAME, { queue = %q }, ...)\n"

local function warn(self, queue, url)
  local about_own = next(self.own) and OWN_WORKER:format(queue) or NO_WORKER
  say.problem(("no worker serves the queue %s now: what is sent there waits")
    :format(queue), ("%sanother worker can serve it:\n  taskengine worker FILE"
    .. " -Q %s -b %s"):format(about_own, queue, url))
end

-- Others may serve it.
local function look_up(self, queue, requests)
  if self.own[queue] then
    return
  end
  requests:send("te1_status", {}, TIMEOUT_MS, function(reply)
    local live = reply and roster.live(link.read_status(reply))
    if live and #roster.serving(live, queue) == 0 then
      warn(self, queue, core.url.masked(requests.transport.url))
    end
  end)
end

--- Hears that tasks are sent to a queue.
-- @tparam Requests requests
-- @tparam string queue
function Outlook:queued(requests, queue)
  if not self.used[queue] then
    self.used[queue] = requests
    if self.own then
      look_up(self, queue, requests)
    end
  end
end

--- Hears which tasks there are, when they are all defined.
-- @tparam {[string]=Task,...} tasks
function Outlook:defined(tasks)
  if not self.own then
    self.own = queues_of(tasks)
    for queue, requests in pairs(self.used) do
      look_up(self, queue, requests)
    end
  end
end

--- Says how much there is to be run in the script's private Redis, before the
-- script has sent anything. Its tasks are defined.
-- @tparam table settings of the script, with no broker
function Outlook:note_leftovers(settings)
  local name = core.url.parse(broker.DEFAULT).name
  if not core.sys.stat((assert(core.embedded.paths(name)))) then
    return -- the first run
  end
  local way = client.new(broker.open(settings), settings)
  local ok, status = pcall(link.status, way)
  way:close()
  if not ok then
    if not errors.is(status) then
      error(status, 0)
    end
    return -- whoever needs Redis will say so
  end
  local count = link.count_unfinished(status, self.own)
  if count > 0 then
    say.note(count == 1
      and "1 task of an earlier run is still queued; it runs too"
      or ("%d tasks of an earlier run are still queued; they run too")
        :format(count))
  end
end

return outlook
