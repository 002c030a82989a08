--- How the run of a script ends: the wait for what its worker still runs, and
-- what is left to other workers.
-- @module taskengine.cli.ending

local broker = require("taskengine.broker")
local client = require("taskengine.client")
local core = require("taskengine.core")
local errors = require("taskengine.errors")
local link = require("taskengine.cli.link")
local say = require("taskengine.cli.say")

local ending = {}

local PATIENCE_MS <const> = 1000
local STATUS_MS <const> = 2000

local function connect(settings)
  return client.new(broker.open(settings), settings)
end

-- What a worker that stops has in its hands is what it runs. nil when it is
-- not known.
local function running_at(reply, pid)
  for _, worker in ipairs(reply and link.read_status(reply).workers or {}) do
    local about = worker.about
    if about.pid == pid and about.host == core.sys.hostname() then
      return worker.in_flight
    end
  end
end

local function note_wait(count, grace)
  local what = count == 1 and "1 running task"
    or count and count > 1 and ("%d running tasks"):format(count)
    or "its worker"
  say.note(("waiting up to %.14g s for %s; Ctrl-C to stop now"):format(grace,
    what))
end

--- Waits until a script's worker, which was asked to stop, has ended. Says so
-- when that takes a while.
-- @tparam OwnWorker worker
-- @tparam table settings of the script
function ending.wait(worker, settings)
  local way
  local _ <close> = core.loop.timer(PATIENCE_MS, function()
    way = connect(settings)
    way.requests:send("te1_status", {}, STATUS_MS, function(reply)
      if not worker.has_ended then
        note_wait(running_at(reply, worker.process:pid()), settings.grace)
      end
    end)
  end)
  worker:wait()
  if way then
    way:close()
  end
end

-- nil when Redis does not say, or it would take long to ask.
local function count_left(settings, sent)
  local way = connect(settings)
  local ok, count = pcall(function()
    local held_back = sent:count_held_back(way)
    return held_back and held_back + link.count_unfinished(link.status(way))
  end)
  way:close()
  if ok then
    return count
  elseif not errors.is(count) then
    error(count, 0)
  end
end

-- How many there are, and whether there may be fewer. What is in a script's
-- private Redis is all its own. Elsewhere it may be anybody's, and of a task
-- whose result is not kept or not waited for the script hears no end.
local function estimate(settings, sent, may_ask)
  local count, ended = sent:counts()
  local open = count - ended
  local is_private = not settings.broker
  local left = may_ask and (is_private or open > 0)
    and count_left(settings, sent)
  if not left then
    return open, true
  elseif is_private then
    return left, false
  end
  return math.min(open, left), true
end

--- Says how many tasks a script leaves behind, if it does. Its worker has
-- ended, or will.
-- @tparam table settings of the script
-- @tparam Sent sent
-- @tparam boolean may_ask whether Redis can be asked: not inside of a fiber
function ending.note_left(settings, sent, may_ask)
  if sent:counts() == 0 then
    return
  end
  local count, is_limit = estimate(settings, sent, may_ask)
  if count <= 0 then
    return
  end
  local text = count == 1
    and "%s1 task that was sent has not ended; it stays in %s and runs with the"
      .. " next worker there"
    or "%s%d tasks that were sent have not ended; they stay in %s and run with"
      .. " the next worker there"
  local limit = is_limit and "up to " or ""
  local url = core.url.masked(settings.broker or broker.DEFAULT)
  say.note(count == 1 and text:format(limit, url)
    or text:format(limit, count, url))
end

return ending
