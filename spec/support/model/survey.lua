--- `te1_survey` and `te1_survey_due` of a model.
-- @module spec.support.model.survey

local queues = require("spec.support.model.queues")
local state = require("spec.support.model.state")

local survey = {}

function survey.survey_due(self, limit, at, id)
  local list, more = queues.due_after(self, limit, at, id)
  local reply, places = { more, at, id }, {}
  for _, task in ipairs(list) do
    local queue = task.parts.queue
    if not places[queue] then
      places[queue] = #reply + 2
      table.move({ queue, 0 }, 1, 2, #reply + 1, reply)
    end
    reply[places[queue]] = reply[places[queue]] + 1
    reply[2], reply[3] = ("%d"):format(task.when), task.parts.id
  end
  return reply
end

function survey.survey(self)
  local in_flight, reply = {}, {}
  for _, worker in pairs(self.workers) do
    for _, task in pairs(worker.held) do
      local queue = task.parts.queue
      in_flight[queue] = (in_flight[queue] or 0) + 1
    end
  end
  for i, name in ipairs(state.keys_of(self.queues)) do
    reply[i] = { name, in_flight[name] or 0 }
    for level = 0, 9 do
      table.insert(reply[i], #self.queues[name][level])
    end
  end
  return reply
end

return survey
