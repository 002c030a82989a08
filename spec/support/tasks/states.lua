--- Tasks that say of themselves how far they are.

local core = require("taskengine.core")
local te = require("taskengine")

local app = te.app("states")

-- Says what it is at, over and over, until a file appears: it never yields.
app:task("count", { bind = true }, function(self, path)
  local n = 0
  while not core.sys.stat(path) do
    n = n + 1
    self:progress(n % 1000 / 1000, "round " .. n)
  end
  return n
end)

-- Says it once, and computes without another word.
app:task("compute", { bind = true }, function(self, path)
  for i = 1, 3 do
    self:update_state("LOADING", { step = i })
  end
  while not core.sys.stat(path) do
    math.random()
  end
end)

app:task("tracked", { track_started = true }, function(path)
  while not core.sys.stat(path) do
    math.random()
  end
end)

app:task("untracked", function(path)
  while not core.sys.stat(path) do
    math.random()
  end
end)

app:task("flood", { bind = true }, function(self, times)
  for i = 1, times do
    self:progress(i / times)
  end
  return times
end)

app:task("say", { bind = true }, function(self, state, meta)
  self:update_state(state, meta)
end)

app:task("leaf", function(x)
  return x
end)

-- Sends some in every way there is.
app:task("parent", { bind = true }, function(self)
  local leaf = app.tasks.leaf
  local first = leaf:delay(1)
  app:enqueue_many(leaf, { { 2 }, { 3 } })
  local last = te.spawn(function()
    return leaf:apply_async({ 4 }, { priority = 3, task_id = "last" })
  end):get()
  return { first.id, last:get() + first:get(), self.id }
end)

return app
