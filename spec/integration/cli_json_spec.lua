--- Every command that prints data prints one JSON document with --json; what
-- is wrong is said in words, and the exit codes are what they always are.

local commands = require("taskengine.cli.commands")
local core = require("taskengine.core")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")

-- They print no data: what they do is in the log, see cli_log_spec.lua.
local LOGS <const> = { run = true, worker = true }

-- How each is called, and the exit code; of more than one way a list.
local CALLS <const> = {
  call = {
    { "call", "addition", "[4, 6]" },
    { "call", "addition", "[4, 6]", "--wait" },
    { "call", "fail", "--wait", code = 1 },
    { "call", "addition", "--countdown", "99", "-w", "--timeout", "0.01",
      code = 4 },
  },
  result = {
    { "result", "known", "--wait" },
    { "result", "failed", code = 1 },
    { "result", "later", code = 4 },
    { "result", "later", "--wait", "--timeout", "0.01", code = 4 },
    { "result", "unheard-of", code = 1 },
  },
  status = { { "status" } },
  queues = { { "queues" } },
  dead = {
    { "dead" },
    { "dead", "show", "failed" },
    { "dead", "requeue", "failed" },
    { "dead", "delete", "nobody", code = 1 },
    { "dead", "list", "--malformed" },
    { "dead", "delete", "--all", "--yes", "--malformed" },
  },
  -- The setup names a flow of which a task has failed.
  flow = {
    { "flow", "" },
    { "flow", "Producer000000000000", code = 1 },
    { "flow", "Producer000000000000", "--retry-failed", code = 1 },
    { "flow", "", "--retry-failed" },
  },
  control = {
    { "control", "revoke", "known", code = 1 },
    { "control", "revoke", "nobody", "known", "--terminate", code = 1 },
  },
  purge = {
    { "purge", "default", "--yes" },
    { "purge", "--all", "--due", "--yes" },
  },
  doctor = {
    { "doctor" },
    {
      "doctor", "-b", "redis://127.0.0.1:1", code = 3,
      env = { TASKENGINE_BROKER_TIMEOUT = "0.5" },
    },
  },
  env = { { "env" } },
}

describe("--json:", function()
  local server, place

  setup(function()
    server = redis_server.start()
    place = program.place { broker = server.url }
    place:write("tasks.lua", [[
      local app = require("taskengine").app("tasks")
      app:task("addition", function(x, y) return x + y end)
      app:task("fail", function() error("out of order") end)]])
    place:worker { "tasks.lua", "-P", "1" }
    for id, words in pairs {
      known = { "addition", "[1, 2]", "--wait" },
      failed = { "fail", "--wait" },
      later = { "addition", "[1, 2]", "--countdown", "1000" },
    } do
      place:run { "call", "--id", id, table.unpack(words) }
    end
  end)

  setup(function()
    place:write("flow.lua", [[
      local app = require("taskengine").app("flow")
      app:main(function()
        local r = (app:signature("addition", { 1, 2 })
          | app:signature("fail"))()
        r:wait(30)
        print(r.flow.id)
      end)]])
    local id = place:run({ "flow.lua" }, { program = "lua5.4" }).stdout
    for _, words in ipairs(CALLS.flow) do
      words[2] = words[2] == "" and id:gsub("\n", "") or words[2]
    end
  end)

  teardown(function()
    place:close()
    server:stop()
  end)

  local function check(words)
    local with_json = table.move(words, 1, #words, 1, {})
    with_json[#with_json + 1] = "--json"
    local ended = place:run(with_json, { env = words.env })
    assert.equal(words.code or 0, ended.code, ended.stderr)
    assert.matches("^[^\n]+\n$", ended.stdout)
    assert.equal("table", type(core.json.decode(ended.stdout)))
    if ended.stderr ~= "" then
      assert.matches("^taskengine: ", ended.stderr)
    end
  end

  for _, entry in ipairs(commands.LIST) do
    local name = entry[1]
    local spec = commands.find(name).spec
    local takes = {}
    for _, option in ipairs(spec.options or {}) do
      takes[option.long] = true
    end
    if LOGS[name] then
      it(name .. " has a log of objects in its place", function()
        assert.is_true(takes["log-format"])
        assert.is_nil(takes.json)
      end)
    else
      it(name .. " prints one document", function()
        assert.is_true(takes.json)
        local calls = assert(CALLS[name], "say here how it is called")
        for _, words in ipairs(calls) do
          check(words)
        end
      end)
    end
  end

  it("--version prints one, too", function()
    check { "--version" }
    check { "-V" }
  end)

  it("nothing is printed where nothing can be", function()
    for _, name in ipairs { "call", "result", "status", "queues", "purge" } do
      local ended = place:run { name, "--json", "--wrong" }
      assert.same({ 2, "" }, { ended.code, ended.stdout })
      assert.matches("^taskengine: " .. name .. ": unknown option",
        ended.stderr)
    end
    for _, words in ipairs { { "call", "x" }, { "result", "x" }, { "status" },
      { "queues" }, { "purge", "x", "-y" } } do
      table.move({ "--json", "-b", "redis://127.0.0.1:1" }, 1, 3, #words + 1,
        words)
      local ended = place:run(words, { env = {
        TASKENGINE_BROKER_TIMEOUT = "0.3" } })
      assert.same({ 3, "" }, { ended.code, ended.stdout })
      assert.matches("^taskengine: [^\n]*connection refused", ended.stderr)
    end
  end)
end)
