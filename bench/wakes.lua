--- Who wakes whom, and how long that takes: what Linux has traced.
-- @module bench.wakes

local wakes = {}

local Trace = {}
Trace.__index = Trace

-- A process runs from now on, if it did not already.
local function begin(self, pid, core, now)
  if not self.names[pid] or self.running[pid] then
    return
  end
  self.running[pid] = now
  local wake = self.pending[pid]
  if wake then
    self.pending[pid] = nil
    local pair = self.pairs[wake.name]
      or { name = wake.name, count = 0, halted = 0, times = {} }
    self.pairs[wake.name] = pair
    pair.count = pair.count + 1
    pair.halted = pair.halted + (self.sleeps[core] and 1 or 0)
    table.insert(pair.times, now - wake.at)
  end
  self.sleeps[core] = false
end

-- It runs no more. One that was woken before it slept has not waited.
local function stop(self, pid, now)
  local since, name = self.running[pid], self.names[pid]
  if since then
    self.ran[name] = (self.ran[name] or 0) + now - since
  end
  self.running[pid], self.pending[pid] = nil, nil
end

function Trace:sched_waking(waker, _, now, rest)
  local woken = tonumber(rest:match("pid=(%d+)"))
  if self.names[waker] and self.names[woken] and not self.pending[woken] then
    self.pending[woken] = { at = now,
      name = self.names[waker] .. " > " .. self.names[woken] }
  end
end

function Trace:sched_switch(_, core, now, rest)
  local from = tonumber(rest:match("prev_pid=(%d+)"))
  local to = tonumber(rest:match("next_pid=(%d+)"))
  stop(self, from, now)
  self.sleeps[core] = from == 0
  begin(self, to, core, now)
  self.sleeps[core] = to == 0
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function sorted(found)
  local list = {}
  for _, pair in pairs(found) do
    pair.us = median(pair.times)
    list[#list + 1] = pair
  end
  table.sort(list, function(a, b)
    return a.count > b.count or a.count == b.count and a.name < b.name
  end)
  return list
end

--- Reads a trace of the events sched_waking and sched_switch, and any others:
-- a core that comes out of its sleep may not tell of the switch, so whatever a
-- process does first says that it runs.
-- @tparam string text as in /sys/kernel/tracing/trace
-- @tparam {[int]=string,...} names process id to what it is called; what
-- others do is left out
-- @treturn {table,...} the pairs, the most frequent first: `name` ("a > b"),
-- `count`, `halted` (of them, how often a core that slept had to wake) and
-- `us`, the median from the waking to the running
-- @treturn {[string]=number,...} microseconds that each one ran
function wakes.read(text, names)
  local self = setmetatable({ names = names, pending = {}, pairs = {},
    ran = {}, running = {}, sleeps = {} }, Trace)
  for line in text:gmatch("[^\n]+") do
    local pid, core, seconds, event, rest =
      line:match("%-(%d+)%s+%[(%d+)%]%s+%S+%s+([%d.]+): ([%w_]+)(.*)")
    if pid then
      local now = tonumber(seconds) * 1e6
      pid = tonumber(pid)
      begin(self, pid, core, now)
      if Trace[event] then
        Trace[event](self, pid, core, now, rest)
      end
    end
  end
  return sorted(self.pairs), self.ran
end

return wakes
