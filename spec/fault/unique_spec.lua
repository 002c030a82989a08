local chaos = require("spec.support.chaos")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local CLIENTS <const>, TIMES <const> = 8, 100
local KEYS <const> = chaos.size(100, 10000)
local TIMEOUT_S <const> = 0.5
local BATCH <const> = 25 -- that a client sends at once

-- What a client process does until it is killed, and another does again.
local SENDER <const> = [[
local te = require("taskengine")
local url, path, keys = arg[1], arg[2], tonumber(arg[3])
local app = te.app("sender", { broker = url })
local function send(n)
  app:send_task("work", { n, path, 0 }, { unique = true })
  app:send_task("work", { keys + n, path, 0 }, { task_id = "name-" .. n })
end
while true do
  for first = 1, keys, 20 do
    local fibers = {}
    for n = first, math.min(first + 19, keys) do
      fibers[#fibers + 1] = te.spawn(send, n)
    end
    for _, one in ipairs(fibers) do one:get() end
    io.open(arg[4], "a"):write("x"):close()
  end
end
]]

describe("The same task, sent again and again by many", function()
  -- Sends for as long as it takes. What may have been accepted is sent again
  -- under its id.
  local function send(app, figures, name, args, opts)
    while true do
      local ok, sent = pcall(app.send_task, app, name, args, opts)
      if ok then
        return sent
      end
      assert(type(sent) == "table" and sent.kind == "BrokerUnavailable", sent)
      figures.refused = figures.refused + 1
      if sent.indeterminate and not opts.task_id then
        opts.task_id = sent.id
      end
    end
  end

  local function open_clients(run)
    local apps = {}
    for i = 1, CLIENTS do
      apps[i] = te.app("client", { broker = run.site.server.url,
        broker_timeout = TIMEOUT_S })
    end
    return setmetatable(apps, { __close = function()
      for _, app in ipairs(apps) do
        app:close()
      end
    end })
  end

  -- Calls fn(app, client) for each client, all at once, while connections break
  -- and Redis hangs for longer than they wait. What is raised in one is raised
  -- here.
  local function send_in_a_storm(run, apps, figures, fn)
    local fibers, sending = {}, CLIENTS
    for client, app in ipairs(apps) do
      fibers[client] = te.spawn(function()
        local ok, problem = xpcall(fn, debug.traceback, app, client)
        sending = sending - 1
        return ok or problem
      end)
    end
    while sending > 0 do
      chaos.pause(0.05, 0.3)
      if figures.faults % 3 == 0 then
        run.site.server:kill("STOP")
        chaos.pause(1.2 * TIMEOUT_S, 1.7 * TIMEOUT_S)
        run.site.server:kill("CONT")
      else
        run.site:call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      end
      figures.faults = figures.faults + 1
    end
    for _, one in ipairs(fibers) do
      assert.is_true(one:get())
    end
  end

  local function assert_no_locks(run)
    assert.equal(0, run.site:key("EXISTS", "l", workers.PREFIX .. "lo"))
  end

  local function start_sender(run)
    return run.site.place:start({ "sender.lua", run.site.server.url,
      run.ledger.path, tostring(KEYS), "progress" }, { program = "lua5.4" })
  end

  -- How often the senders have said that they have sent a part.
  local function progress(run)
    local file <close> = io.open(run.site.dir .. "/progress")
    return file and file:seek("end") or 0
  end

  -- One process after the other, each of which is killed while it sends.
  local function kill_senders(run, count)
    run.site.place:write("sender.lua", SENDER)
    for _ = 1, count do
      local before = progress(run)
      local sender = start_sender(run)
      wait_until(function()
        assert(not sender.ended, "the sender has ended")
        return progress(run) > before
      end, 30, "a sender that sends")
      chaos.pause(0, 0.02)
      workers.kill(sender.pid)
      sender:wait()
      run.kills = run.kills + 1
    end
  end

  it("is made once, whoever dies between asking and hearing", function()
    local run <close> = chaos.run { processes = 2, concurrency = 2 }
    local figures = { refused = 0, faults = 0 }
    local apps <close> = open_clients(run)
    local ids, names = {}, {}
    kill_senders(run, chaos.size(5, 30))
    local function send_both(app, n)
      local path = run.ledger.path
      local id = send(app, figures, "work", { n, path, 0 },
        { unique = true }).id
      ids[n] = ids[n] or id
      assert.equal(ids[n], id)
      local one = send(app, figures, "work", { KEYS + n, path, 0 },
        { task_id = "name-" .. n })
      names[n] = names[n] or one.engine_id
      assert.equal(names[n], one.engine_id)
    end
    send_in_a_storm(run, apps, figures, function(app, client)
      for _ = client, TIMES, CLIENTS do
        for first = 1, KEYS, BATCH do
          local fibers = {}
          for n = first, math.min(first + BATCH - 1, KEYS) do
            fibers[#fibers + 1] = te.spawn(send_both, app, n)
          end
          for _, one in ipairs(fibers) do
            one:get()
          end
        end
      end
    end)
    run.sent = 2 * KEYS
    assert.equal(run.sent, run.site:count("enqueued"))
    assert.equal(KEYS, run.site:key("HLEN", "l"))

    run:start()
    run:finish()
    local found = run:report("F21", 0, ("refused=%d faults=%d"):format(
      figures.refused, figures.faults))
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.is_true(figures.faults > 0 and figures.refused > 0)
    assert_no_locks(run)
    local ended = run:stop()
    assert.same({ 0, {} }, { ended.code, ended.left })
  end)

  -- How a task of each kind ends, besides by a worker that is killed.
  local KINDS <const> = {
    { how = "rest", opts = {} },
    { how = "raise", opts = {} },
    { how = "exit", opts = {} },
    { how = "rest", opts = { priority = 5 } },
    { how = "rest", opts = { expires = 0.005 } },
    { how = "rest", opts = { countdown = 0.03 } },
    { how = "rest", opts = { countdown = 5 }, is_revoked = true },
    { how = "rest", opts = {}, is_revoked = true },
  }

  -- Sends one of a key. Where there is a new one the last has ended, for all
  -- to see.
  local function send_next(app, figures, path, key)
    local kind = KINDS[key % #KINDS + 1]
    local opts = { unique = { key = "key-" .. key } }
    for name, value in pairs(kind.opts) do
      opts[name] = value
    end
    local one = app:send_task("end_somehow", { key, path, kind.how }, opts)
    local last = figures.last[key]
    figures.last[key], figures.ids[one.id] = one, true
    if last and last.id ~= one.id then
      figures.made = figures.made + 1
      assert.not_equal("=", one.client:outcome(last.id):sub(1, 1))
    elseif last then
      figures.doubles = figures.doubles + 1
    end
    if kind.is_revoked and math.random() < 0.3 then
      one:revoke()
    end
  end

  local function wait_for_all_ends(run)
    wait_until(function()
      local ended = 0
      for _, counter in ipairs { "done", "failed", "expired", "revoked" } do
        ended = ended + run.site:count(counter)
      end
      return ended == run.site:count("enqueued") + run.site:count("requeued")
    end, 60, "the end of all tasks")
  end

  it("is there once at a time, however the one before it ended", function()
    local run <close> = chaos.run { processes = 2, concurrency = 2 }
    local apps <close> = open_clients(run)
    local figures = { ids = {}, last = {}, made = 0, doubles = 0 }
    local kills = chaos.size(5, 50)
    local fibers = {}
    run:start()
    for client, app in ipairs(apps) do
      fibers[client] = te.spawn(function()
        while not figures.is_over do
          for key = client, 10 * CLIENTS, CLIENTS do
            send_next(app, figures, run.ledger.path, key)
          end
          te.sleep(0.002)
        end
      end)
    end
    for _ = 1, kills do
      chaos.pause(0.3, 0.8)
      run:kill_worker()
      run:start()
    end
    figures.is_over = true
    for _, one in ipairs(fibers) do
      one:get()
    end
    wait_for_all_ends(run)
    local made = 0
    for _ in pairs(figures.ids) do
      made = made + 1
    end
    io.write(("[F21 TE_SEED=%d kills=%d made=%d doubles=%d]"):format(
      chaos.SEED, run.kills, made, figures.doubles))
    assert.equal(made, run.site:count("enqueued"))
    for _, counter in ipairs { "done", "failed", "expired", "revoked", "lost" }
    do
      assert.is_true(run.site:count(counter) > 0, counter)
    end
    assert.is_true(figures.made > 0 and figures.doubles > 0)
    assert_no_locks(run)

    -- The dead take their locks again, one for each key, and let them go.
    local answers = { requeued = 0, taken = 0 }
    for _, entry in ipairs(run.site.app:dead()) do
      local ok, why = entry:requeue()
      answers[ok and "requeued" or why] = answers[ok and "requeued" or why] + 1
    end
    assert.is_true(answers.requeued > 0)
    wait_for_all_ends(run)
    assert_no_locks(run)
    assert.equal(0, run:stop().code)
  end)
end)
