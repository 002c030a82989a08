--- The operation `r` of `te1_finish` of a model.
-- @module spec.support.model.retry

local ends = require("spec.support.model.ends")
local queues = require("spec.support.model.queues")

local retry = {}

local SPENDS <const>, IS_TIME <const> = 1, 2
local PUT_OFF <const> = "R\x82\xa4kind\xa7Expired\xa7message\xd9\x22"
  .. "was put off until after its expiry"

local function finish_late(self, task, outcome)
  if outcome == "" then
    ends.settle(self, task, PUT_OFF, "expired")
  else
    ends.settle(self, task, outcome)
  end
end

--- A task is to run again, as its verdict says.
-- @tparam Model self
-- @tparam table task
-- @tparam string verdict without its letter
-- @tparam string who what is noted of the worker
function retry.again(self, task, verdict, who)
  local when, flags, body, at = string.unpack(">I8Bs4", verdict)
  local outcome, parts = verdict:sub(at), task.parts
  when = flags & IS_TIME ~= 0 and when or self.now + when
  when = math.max(when, self.now)
  if parts.expiry_ms > 0 and parts.expiry_ms <= when then
    return finish_late(self, task, outcome)
  end
  if flags & SPENDS ~= 0 then
    parts.attempt = math.min(parts.attempt + 1, 255)
    ends.note(self, task, "r", who, outcome)
    queues.count(self, parts.queue, "retried")
  end
  parts.body = body ~= "" and body or parts.body
  parts.delivery = parts.delivery + 1
  queues.pack(task)
  if when > self.now then
    queues.make_due(self, task, when)
  else
    queues.make_ready(self, task)
  end
end

return retry
