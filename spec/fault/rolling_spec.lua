local chaos = require("spec.support.chaos")
local ledger = require("spec.support.ledger")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

-- Three workers are replaced one after the other, under load.
describe("A rolling restart", function()
  local ROUNDS <const> = chaos.size(3, 20)
  local EACH <const> = chaos.size(200, 850) -- before each stop
  local site, book, producers, list

  before_each(function()
    math.randomseed(chaos.SEED)
    site = workers.site()
    book = ledger.new(site.dir .. "/ledger")
    producers = { site.app, te.app("site", { broker = site.server.url }) }
    list = {}
  end)

  after_each(function()
    producers[2]:close()
    site:close()
  end)

  local function send(count)
    for _ = 1, count do
      local number = #list + 1
      local name = number % 2 == 0 and "work" or "wait"
      list[number] = producers[number % 2 + 1]:send_task(name,
        { number, book.path, 0.001 + math.random() * 0.02 })
    end
  end

  local function start()
    return site:worker({ "-P", "2", "-c", "2", "--grace", "20" },
      { file = "ledger" })
  end

  -- What it had is settled when it has gone; others go on meanwhile.
  local function stop(worker, signal)
    worker:kill(signal)
    wait_until(function()
      send(2)
      te.sleep(0.01)
      return worker.ended
    end, 30, "the end of a worker")
    assert.equal(0, worker:wait().code)
  end

  local function wait_all()
    for number, r in ipairs(list) do
      assert.equal(number, r:get { timeout = 60 })
    end
  end

  local function report(what)
    local found = book:check(#list)
    io.write(("[%s TE_SEED=%d n=%d lost=%d dup=%d]"):format(what, chaos.SEED,
      #list, found.lost, found.twice))
    return found
  end

  it("loses nothing, and starts nothing twice", function()
    local running = {}
    for i = 1, 3 do
      running[i] = start()
    end
    send(200)
    for _ = 1, ROUNDS do
      for i = 1, 3 do
        send(EACH)
        local successor = start()
        stop(running[i], "TERM")
        running[i] = successor
      end
    end
    wait_all()
    assert.same({ lost = 0, twice = 0, unexpected = 0 }, report("F22"))
    assert.same({ #list, 0, 0, 0 }, { site:count("done"), site:count("failed"),
      site:count("lost"), site:count("redelivered") })
    for i = 1, 3 do
      assert.equal(0, site:stop(running[i]).code)
    end
    assert.same({}, site:leftovers())
  end)

  it("in which some are stopped at once, blames no task", function()
    local running = {}
    for i = 1, 3 do
      running[i] = start()
    end
    send(200)
    for i = 1, 3 do
      send(100)
      local successor = start()
      stop(running[i], "QUIT")
      running[i] = successor
    end
    wait_all()
    local found = report("F22, cold")
    -- What ran then, in two processes with two slots each, runs once more.
    assert.same({ 0, 0 }, { found.lost, found.unexpected })
    assert.is_true(found.twice <= 3 * 4)
    assert.same({ #list, 0, 0 }, { site:count("done"), site:count("failed"),
      site:count("lost") })
    for i = 1, 3 do
      assert.equal(0, site:stop(running[i]).code)
    end
    assert.same({}, site:leftovers())
  end)
end)
