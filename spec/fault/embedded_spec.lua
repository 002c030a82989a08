local core = require("taskengine.core")
local files = require("spec.support.files")
local processes = require("spec.support.processes")
local seed = require("spec.support.seed")
local support = require("spec.support.embedded")
local wait_until = require("spec.support.wait").wait_until
local sys = core.sys
local kill, is_alive = processes.kill, processes.is_alive

describe("the embedded Redis", function()
  local home

  before_each(function()
    home = support.home()
  end)

  after_each(function()
    home:close()
  end)

  -- Waits until supervisor and server are others than these.
  local function wait_for_successors(supervisor, server)
    return wait_until(function()
      local new_supervisor, new_server = home:note_pids()
      return new_supervisor and new_server
        and new_supervisor ~= supervisor and new_server ~= server
        and is_alive(new_supervisor) and is_alive(new_server)
    end, 20, "another supervisor and server")
  end

  local function wait_for_hits(socket, expected)
    wait_until(function()
      return home:ask(socket, "GET hits") == expected
    end, 20, "the server's " .. expected)
  end

  it("is one when many processes race to start it", function()
    for round = 1, 5 do
      local name = "race-" .. round
      local users = {}
      for i = 1, 8 do
        users[i] = home:user(name, "stay")
      end
      local supervisors, servers = {}, {}
      for _, user in ipairs(users) do
        local socket = home:heard(user, "^ready (.*)")
        servers[home:ask(socket, "INFO server"):match("process_id:(%d+)")] = 1
        supervisors[home:note_pids(name)] = 1
      end
      assert.is_not_nil(next(servers))
      assert.is_nil(next(servers, (next(servers))))
      assert.is_nil(next(supervisors, (next(supervisors))))
      local log = files.read(home.state .. "/" .. name .. "/redis.log")
      assert.equal(1, select(2, log:gsub("Redis is starting", "")))
      for _, user in ipairs(users) do
        user.kill()
      end
    end
  end)

  it("stays when the one that started it is killed", function()
    local starter = home:user("spec", "stay")
    local socket = home:heard(starter, "^ready (.*)")
    local joined = home:ready()
    local before = { home:note_pids() }
    starter.kill()
    wait_until(starter.has_ended, 20, "its end")
    assert.equal("1", home:ask(socket, "INCR hits"))
    assert.same({ true, n = 1 }, home:ensure(joined))
    assert.same(before, { home:note_pids() })
  end)

  it("is there for others when its starter is killed on the way", function()
    local starter = home:user("spec", "stay")
    wait_until(function()
      return home:note_pids()
    end, 20, "the supervisor")
    starter.kill()
    wait_until(starter.has_ended, 20, "its end")
    assert.equal("PONG", home:ask(home:ready():socket(), "PING"))
  end)

  it("comes back when its supervisor is killed", function()
    local user, other = home:ready(), home:user("spec", "stay")
    local socket = user:socket()
    home:heard(other, "^ready")
    home:ask(socket, "INCR hits")
    local supervisor, server = home:note_pids()
    kill(supervisor, "KILL")
    -- Without anybody asking for it, and with what it held.
    wait_for_successors(supervisor, server)
    assert.is_false(is_alive(server))
    wait_for_hits(socket, "1")
    assert.same({ true, n = 1 }, home:ensure(user))
  end)

  it("comes back when its supervisor is told to end", function()
    local user = home:ready()
    home:ask(user:socket(), "INCR hits")
    local supervisor, server = home:note_pids()
    kill(supervisor, "TERM")
    wait_for_successors(supervisor, server)
    assert.same({ true, n = 1 }, home:ensure(user))
    wait_for_hits(user:socket(), "1")
  end)

  it("is restarted when it is killed, and its users know", function()
    local user = home:ready()
    local socket = user:socket()
    for round = 1, 4 do
      assert.equal(tostring(round), home:ask(socket, "INCR hits"))
      local supervisor, server = home:note_pids()
      kill(server, "KILL")
      wait_until(function()
        return not user:socket()
      end, 20, "the news")
      assert.same({ true, n = 1 }, home:ensure(user))
      local same, new = home:note_pids()
      assert.equal(supervisor, same)
      assert.are_not.equal(server, new)
      wait_for_hits(socket, tostring(round))
    end
  end)

  it("is told of to its users when it cannot be started again", function()
    local user = home:ready()
    home:ask(user:socket(), "INCR hits")
    local _, server = home:note_pids()
    assert(os.execute(("echo rubbish >>%s/spec/appendonlydir/"
      .. "appendonly.aof.1.incr.aof"):format(home.state)))
    kill(server, "KILL")
    wait_until(function()
      return not user:socket()
    end, 20, "the news")
    local answer = home:ensure(user)
    assert.equal("EDOWN", answer[3])
    assert.matches("Bad file format", answer[2])
  end)

  it("starts over what a crash of everything left", function()
    local user = home:user("spec", "stay")
    local socket = home:heard(user, "^ready (.*)")
    home:ask(socket, "INCR hits")
    local supervisor, server = home:note_pids()
    kill(server, "STOP") -- it shall not tidy up when its supervisor dies
    user.kill()
    kill(supervisor, "KILL")
    kill(server, "KILL")
    home:wait_for_end()
    assert.equal("socket", sys.stat(socket).type)
    assert.equal("socket", sys.stat(home.runtime .. "/spec.ctl").type)
    assert.equal("1", home:ask(home:ready():socket(), "GET hits"))
  end)

  it("takes the place of files that lie where its sockets belong", function()
    for _, file in ipairs { "spec.sock", "spec.ctl" } do
      assert(sys.mkdir_p(home.runtime, 448))
      home:write("run/taskengine/" .. file, "stale")
    end
    assert.equal("PONG", home:ask(home:ready():socket(), "PING"))
  end)

  it("waits for the server before it, and kills one that hangs", function()
    local user = home:user("spec", "stay")
    home:ask(home:heard(user, "^ready (.*)"), "INCR hits")
    local supervisor, server = home:note_pids()
    kill(server, "STOP")
    user.kill()
    kill(supervisor, "KILL")
    wait_until(function()
      return not is_alive(supervisor)
    end, 20, "the supervisor's end")
    -- Has it open too, but not locked: none of the kill's business.
    local lock <close> =
      assert(io.open(home.state .. "/spec/redis.lock", "rb"))
    local answer = home:ensure(home:open(), 300)
    assert.equal("ETIMEDOUT: the embedded Redis spec did not answer within "
      .. "300 ms; its logs are in " .. home.state .. "/spec", answer[2])
    assert.equal("1", home:ask(home:ready():socket(), "GET hits"))
    assert.is_false(is_alive(server))
    assert.is_truthy(lock:read("a"))
  end)

  it("moves on when its sockets are removed", function()
    local user = home:ready()
    home:ask(user:socket(), "INCR hits")
    local supervisor, server = home:note_pids()
    -- What a logout does to the runtime folder.
    assert(os.execute("rm -rf " .. home.path .. "/run"))
    wait_for_successors(supervisor, server)
    wait_until(function()
      return user:socket() == home.state .. "/spec/redis.sock"
    end, 20, "the new server")
    assert.equal("1", home:ask(user:socket(), "GET hits"))
  end)

  it("moves on when its data is removed, with nothing", function()
    local user = home:ready()
    home:ask(user:socket(), "INCR hits")
    local supervisor, server = home:note_pids()
    assert(os.execute("rm -rf " .. home.state))
    wait_for_successors(supervisor, server)
    assert.same({ true, n = 1 }, home:ensure(user))
    wait_for_hits(user:socket(), "")
  end)

  -- How often a server ends while nobody is there is a matter of chance: as
  -- many rounds as it takes.
  it("loses no user between an end and the next beginning", function()
    local hits, rounds = 0, 0
    local ends
    repeat
      local users = {}
      for i = 1, 2 do
        users[i] = home:user("spec", "return 30")
      end
      for _, user in ipairs(users) do
        wait_until(user.has_ended, 60, "its 30 answers")
        for _, line in ipairs(user.lines()) do
          assert.not_matches("^failed", line)
          hits = hits + (line:match("^hit") and 1 or 0)
        end
      end
      local log = files.read(home.state .. "/spec/supervisor.log")
      ends = select(2, log:gsub(" ends\n", ""))
      rounds = rounds + 1
    until ends > 2 or rounds == 20
    print(("  %d hits, %d ends"):format(hits, ends))
    assert.equal(60 * rounds, hits)
    assert.is_true(ends > 2)
    assert.equal(tostring(hits), home:ask(home:ready():socket(), "GET hits"))
  end)

  it("loses nothing that it answered, whoever is killed", function()
    seed.begin()
    local users, kills = {}, 0
    for i = 1, 3 do
      users[i] = home:user("spec", "count 20")
    end
    local function have_ended()
      for _, user in ipairs(users) do
        if not user.has_ended() then
          return false
        end
      end
      return true
    end
    local next_kill = sys.monotonic()
    wait_until(function()
      if kills < 30 and sys.monotonic() >= next_kill then
        local victim = select(math.random(2), home:note_pids())
        if victim and is_alive(victim) then
          kill(victim, "KILL")
          kills = kills + 1
          next_kill = sys.monotonic() + math.random() * 0.1
        end
      end
      return have_ended()
    end, 60, "all answers")
    local answered = 0
    for _, user in ipairs(users) do
      for _, line in ipairs(user.lines()) do
        answered = answered + (line:match("^hit") and 1 or 0)
      end
    end
    local counted = tonumber(home:ask(home:ready():socket(), "GET hits"))
    print(("  %d kills, %d answered, %d counted"):format(kills, answered,
      counted))
    assert.equal(60, answered)
    assert.is_true(counted >= answered)
    assert.is_true(kills > 0)
  end)
end)
