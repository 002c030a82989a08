local roster = require("taskengine.cli.roster")

describe("taskengine.cli.roster", function()
  local function worker(about, is_dead)
    return { alive = not is_dead, about = about }
  end

  local cook = worker {
    queues = { "default", "kitchen" },
    tasks = { brew = { queue = "kitchen", priority = 3 }, wash = {} },
  }
  local clerk = worker { queues = { "default" }, tasks = { file = {} } }
  local ghost = worker({ queues = { "default" }, tasks = { haunt = {} } }, true)

  it("lists those who live", function()
    assert.same({ cook, clerk },
      roster.live { workers = { cook, ghost, clerk } })
  end)

  it("lists those who serve a queue", function()
    assert.same({ cook }, roster.serving({ cook, clerk }, "kitchen"))
    assert.same({}, roster.serving({ cook, clerk }, "attic"))
  end)

  it("finds a task, with its options", function()
    assert.same({ queue = "kitchen", priority = 3 },
      roster.find_task({ clerk, cook }, "brew"))
    assert.same({}, roster.find_task({ clerk, cook }, "file"))
    assert.is_nil(roster.find_task({ clerk, cook }, "haunt"))
  end)

  it("lists the names of all tasks once", function()
    assert.same({ "brew", "file", "wash" },
      roster.task_names { clerk, cook, clerk })
  end)

  it("trusts nothing that a worker says of itself", function()
    local liars = {
      worker {}, worker { queues = "default", tasks = 1 },
      worker { queues = { {}, 1 }, tasks = { 1, brew = "x", [true] = {} } },
      worker { tasks = { brew = { queue = "a b", priority = 99, bind = 1,
        time_limit = "x", unknown = 1, unique = { for_s = "x" } } } },
    }
    assert.same({}, roster.serving(liars, "default"))
    assert.same({}, roster.find_task(liars, "brew"))
    assert.same({ "brew" }, roster.task_names(liars))
  end)
end)
