local core = require("taskengine.core")
local known = require("taskengine.canvas.known")
local misuse = require("spec.support.misuse")

describe("taskengine.canvas.known", function()
  local workers, asked, now, way

  before_each(function()
    workers, asked, now = {}, 0, 100
    way = {
      ask = function(_, name)
        assert.equal("te1_status", name)
        asked = asked + 1
        return { 1000, {}, 0, 0, 0, workers }
      end,
    }
    stub(core.sys, "monotonic", function()
      return now
    end)
  end)

  after_each(function()
    core.sys.monotonic:revert()
  end)

  local function add_worker(about, lease_end)
    local bytes = core.codec.encode(about, "about")
    workers[#workers + 1] = { "w" .. #workers, lease_end or 2000, "", bytes }
  end

  local function check(name, queue)
    return known.check(way, { [name] = { [queue or false] = true } })[name]
  end

  it("finds where a task belongs, else it is the queue of all", function()
    add_worker { queues = { "far" }, tasks = { add = { queue = "far" } } }
    assert.equal("far", check("add"))
    assert.equal("default", check("other"))
    assert.is_nil(check("add", "far"))
  end)

  it("refuses a name that those who serve its queue do not list", function()
    add_worker { queues = { "default" }, tasks = { add = {} } }
    assert.equal("NotRegistered: no worker on the queue default knows a task"
      .. " 'ad' (did you mean 'add'?) (task ad)", misuse(known.check, way,
        { ad = { [false] = true } }))
    assert.equal("default", check("add"))
  end)

  it("leaves out those whose lease has ended, and what is no worker", function()
    add_worker({ queues = { "default" }, tasks = {} }, 999)
    add_worker(7)
    add_worker { queues = 1, tasks = "x" }
    add_worker {
      queues = { 1, {}, 0 / 0 },
      tasks = { [7] = 1, x = { queue = 2 } },
    }
    assert.equal("default", check("add"))
  end)

  it("asks once in a second for what is known", function()
    add_worker { queues = { "default" }, tasks = { add = {}, mul = {} } }
    check("add")
    now = now + 0.9
    check("mul")
    assert.equal(1, asked)
    now = now + 0.2
    check("add")
    assert.equal(2, asked)
  end)

  it("asks again before it says no", function()
    add_worker { queues = { "default" }, tasks = { add = {} } }
    check("add")
    add_worker { queues = { "default", "far" }, tasks = { mul = {} } }
    assert.equal("default", check("mul"))
    assert.equal(2, asked)
  end)

  it("asks again while nobody serves the queue", function()
    assert.equal("default", check("add"))
    add_worker { queues = { "far" }, tasks = { add = { queue = "far" } } }
    assert.equal("far", check("add"))
  end)

  it("keeps what it heard of one client from another", function()
    add_worker { queues = { "default" }, tasks = { add = {} } }
    check("add")
    way = { ask = way.ask }
    check("add")
    assert.equal(2, asked)
  end)
end)
