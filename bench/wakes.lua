--- Who wakes whom, and how long that takes: what Linux' scheduler has traced.
-- @module bench.wakes

local wakes = {}

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

--- Reads a trace of the events sched_waking and sched_switch.
-- @tparam string text as in /sys/kernel/tracing/trace
-- @tparam {[int]=string,...} names process id to what it is called; what
-- others do is left out
-- @treturn {table,...} the pairs, the most frequent first: `name` ("a > b"),
-- `count`, `halted` (of them, how often a core that was idle had to wake) and
-- `us`, the median from the waking to the running
-- @treturn {[string]=number,...} microseconds that each one ran
function wakes.read(text, names)
  local pending, pairs_, ran, since = {}, {}, {}, {}
  local function switch(now, from, to)
    if names[from] and since[from] then
      ran[names[from]] = (ran[names[from]] or 0) + now - since[from]
    end
    since[to] = now
    local wake = pending[to]
    if wake then
      pending[to] = nil
      local pair = pairs_[wake.name]
        or { name = wake.name, count = 0, halted = 0, times = {} }
      pairs_[wake.name] = pair
      pair.count = pair.count + 1
      pair.halted = pair.halted + (from == 0 and 1 or 0)
      table.insert(pair.times, now - wake.at)
    end
  end
  for line in text:gmatch("[^\n]+") do
    local waker, seconds, event, rest =
      line:match("%-(%d+)%s+%[%d+%]%s+%S+%s+([%d.]+): ([%w_]+): (.*)")
    local now = seconds and tonumber(seconds) * 1e6
    waker = tonumber(waker)
    if event == "sched_waking" then
      local woken = tonumber(rest:match("pid=(%d+)"))
      if names[waker] and names[woken] and not pending[woken] then
        pending[woken] =
          { at = now, name = names[waker] .. " > " .. names[woken] }
      end
    elseif event == "sched_switch" then
      switch(now, tonumber(rest:match("prev_pid=(%d+)")),
        tonumber(rest:match("next_pid=(%d+)")))
    end
  end
  return sorted(pairs_), ran
end

return wakes
