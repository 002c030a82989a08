local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")

local PREFIX <const> = "te:{default.0}:"

describe("taskengine", function()
  local server = redis_server.for_all_specs()
  local place = program.for_each_spec { server = server }

  local function run(...)
    return place:run { ... }
  end

  local function send(queue, ...)
    local ended = run("call", "any", "--queue", queue, ...)
    assert.equal(0, ended.code)
    return (ended.stdout:gsub("\n", ""))
  end

  local function decoded(ended)
    assert.matches("^[^\n]+\n$", ended.stdout)
    return (assert(core.json.decode(ended.stdout)))
  end

  local function length(queue)
    return tonumber(server:cli("LLEN", PREFIX .. "r:" .. queue))
  end

  describe("queues", function()
    it("says when there is none", function()
      local ended = run("queues")
      assert.same({ 0, "no queue was ever used\n", "" },
        { ended.code, ended.stdout, ended.stderr })
      assert.equal('{"due":0,"queues":[]}\n', run("queues", "--json").stdout)
    end)

    it("shows what waits, by priority, and what is due", function()
      send("mail")
      send("mail", "--priority", "9")
      send("mail", "--priority", "2")
      send("mail", "--countdown", "100")
      send("other", "--countdown", "100")
      local lines = {}
      for line in run("queues").stdout:gmatch("[^\n]+") do
        lines[#lines + 1] = line:gsub(" +", " ")
      end
      assert.same({
        "queue ready priorities due in flight workers enqueued done failed"
          .. " revoked expired retried redelivered crashes",
        "mail 3 9:1 2:1 0:1 1 0 0 4 0 0 0 0 0 0 0",
        "other 0 - 1 0 0 1 0 0 0 0 0 0 0",
      }, lines)
      local all = decoded(run("queues", "--json"))
      assert.same({ "mail", 3, 1, { ["0"] = 1, ["2"] = 1, ["9"] = 1 }, 0 }, {
        all.queues[1].name, all.queues[1].ready, all.queues[1].due,
        all.queues[1].priorities, all.queues[1].in_flight,
      })
      assert.is_nil(all.queues[2].priorities)
    end)

    it("shows what runs, and who serves it", function()
      place:write("tasks.lua", [[
        local te = require("taskengine")
        te.app("x"):task("nap", function() te.sleep(100) end)]])
      place:worker { "tasks.lua", "-P", "1", "-c", "2", "--grace", "0" }
      run("call", "nap")
      run("call", "nap")
      run("call", "nap", "--queue", "nobody")
      local queues = decoded(run("queues", "--json")).queues
      assert.same({ "default", 2, 1, 0 }, { queues[1].name,
        queues[1].in_flight + queues[1].ready, queues[1].workers,
        queues[1].done })
      assert.same({ "nobody", 0, 1 },
        { queues[2].name, queues[2].workers, queues[2].ready })
    end)
  end)

  describe("purge", function()
    it("deletes what is ready in the queues that are named", function()
      local ids = { send("mail"), send("mail", "--priority", "3") }
      send("other")
      send("mail", "--countdown", "100")
      local ended = run("purge", "mail", "--yes")
      assert.same({ 0, "purged 2 tasks: mail 2\n", "" },
        { ended.code, ended.stdout, ended.stderr })
      assert.equal(1, length("other"))
      assert.equal("1", server:cli("ZCARD", PREFIX .. "z"))
      for _, id in ipairs(ids) do
        ended = run("result", id, "--json")
        assert.equal(1, ended.code)
        local outcome = decoded(ended)
        assert.same({ "REVOKED", "Revoked", "purged" },
          { outcome.state, outcome.error.kind, outcome.error.message })
      end
    end)

    it("lets nobody wait for ever", function()
      local waiting = place:start { "call", "any", "--queue", "mail",
        "--wait" }
      waiting:heard("stderr", "waiting for one")
      run("purge", "mail", "--yes")
      local ended = waiting:wait()
      assert.equal(1, ended.code)
      assert.matches("^[^\n]+\ntaskengine: Revoked: purged ", ended.stderr)
    end)

    it("goes on until all is gone that was there", function()
      place:write("many.lua", [[
        local app = require("taskengine").app("x")
        local many = {}
        for i = 1, 2500 do many[i] = { i } end
        app:main(function()
          app:enqueue_many(app:task("t", { ignore_result = true },
            function() end), many, { queue = "mail" })
        end)]])
      local ended = place:run({ "-c", ('eval "$(%s env)"; exec lua5.4 many.lua')
        :format(program.PATH) }, { program = "sh" })
      assert.same({ 0, "" }, { ended.code, ended.stderr })
      assert.equal(2500, length("mail"))
      assert.equal('{"purged":2500,"queues":[{"malformed":0,"name":"mail",'
        .. '"purged":2500}]}\n', run("purge", "--all", "--yes",
        "--json").stdout)
      assert.equal(0, length("mail"))
    end)

    it("deletes what is due with --due", function()
      send("mail", "--countdown", "100")
      send("other", "--countdown", "100")
      assert.equal("purged 0 tasks\n", run("purge", "mail", "-y").stdout)
      assert.equal("purged 1 task: mail 1\n",
        run("purge", "mail", "-y", "--due").stdout)
      assert.equal("1", server:cli("ZCARD", PREFIX .. "z"))
    end)

    it("sets aside what is no task, and says so", function()
      send("mail")
      server:cli("RPUSH", PREFIX .. "r:mail", "rubbish")
      local ended = run("purge", "mail", "-y")
      assert.equal("purged 1 task: mail 1\n", ended.stdout)
      assert.equal("taskengine: 1 entry was no task: it is set aside, not"
        .. " deleted\n", ended.stderr)
      assert.equal("1", server:cli("LLEN", PREFIX .. "m"))
    end)

    it("deletes nothing where nobody can be asked", function()
      send("mail")
      local ended = run("purge", "mail")
      assert.same({ 2, "", "taskengine: purge: nobody can be asked here, and"
        .. " what is deleted is gone\n  with --yes it is done without"
        .. " asking\n" }, { ended.code, ended.stdout, ended.stderr })
      assert.equal(1, length("mail"))
    end)

    -- What a terminal shows, and how it ends, when that is the answer.
    local function answer(text)
      local out = place.dir .. "/typescript"
      local ended = place:run({ "-c",
        ([[printf '%s' | script -qefc "%s purge mail" '%s']]):format(text,
          program.PATH, out) }, { program = "sh" })
      local file <close> = assert(io.open(out, "rb"))
      return ended.code, file:read("a"):gsub("\r", "")
    end

    it("shows what it would delete, and asks on a terminal", function()
      send("mail")
      for _, text in ipairs { "n\\n", "\\n", "nay\\n" } do
        local code, shown = answer(text)
        assert.equal(1, code)
        assert.matches("queue +ready +due\nmail +1 +0\n"
          .. "delete 1 task for good%? %[y/N%] .*nothing was deleted\n", shown)
        assert.equal(1, length("mail"))
      end
      -- Ctrl-D, after which the cursor stands behind the question.
      assert.matches("%[y/N%] [^\n]*\ntaskengine: nothing was deleted",
        select(2, answer("")))
      local code, shown = answer("y\\n")
      assert.equal(0, code)
      assert.matches("purged 1 task: mail 1\n", shown)
      assert.equal(0, length("mail"))
    end)

    for message, words in pairs {
      ["QUEUE is missing"] = { "-y" },
      ["--all is for all queues, name none besides"] = { "x", "--all", "-y" },
      ["no queue 'mial' was ever used (did you mean 'mail'?)"] =
        { "mial", "-y" },
      ["QUEUE: a name (1 to 128 of the characters A-Z a-z 0-9 _ . : -)"
        .. ' expected, got "a b"'] = { "a b", "-y" },
    } do
      it("refuses " .. table.concat(words, " "), function()
        send("mail")
        local ended = run("purge", table.unpack(words))
        assert.equal(2, ended.code)
        assert.matches("taskengine: purge: " .. message .. "\n", ended.stderr,
          1, true)
        assert.equal(1, length("mail"))
      end)
    end
  end)
end)
