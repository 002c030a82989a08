--- `taskengine flow`, with real workers.

local core = require("taskengine.core")
local files = require("spec.support.files")
local flow_plan = require("spec.support.flow_plan")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

describe("taskengine flow", function()
  local site = workers.for_each_spec()

  local function s(name, ...)
    return site.app:signature(name, table.pack(...))
  end

  local function run(...)
    return site.place:run { "flow", ... }
  end

  -- What is printed, without times.
  local function shown(...)
    local ended = run(...)
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    return (ended.stdout:gsub("%d+%.%d+ s", "T s"))
  end

  local function wait_for_end(flow)
    wait_until(function()
      return flow:info().left == 0
    end, 30)
  end

  it("shows a tree, from the id of the flow or of a task in it", function()
    site:worker({ "-P", "2" }, { file = "canvas" })
    local list = {}
    for i = 1, 20 do
      list[i] = s("add", i, i)
    end
    local r = te.chain(s("add", 0, 0), te.group(list),
      s("stream_sum"), s("add", 1))()
    assert.is_true((r:wait(30)))
    local text = ("%s  done, 23 of 23 ended\n"):format(r.flow.id)
      .. "add  SUCCESS  T s\n"
      .. "└─ 20 x add  SUCCESS 20  mean T s, longest T s\n"
      .. "stream_sum  SUCCESS  T s\n"
      .. "add  SUCCESS  T s\n"
    assert.equal(text, shown(r.flow.id))
    assert.equal(text, shown(r.id))
  end)

  it("shows what waits, and prints all of it as JSON", function()
    local r = te.flow {
      name = "etl",
      nodes = {
        load = { s("add", 1, 2) },
        save = { s("sum"), after = { "load" } },
      },
    }()
    assert.equal(("etl  %s  running, 0 of 2 ended\nload: add  RELEASED"
      .. "  T s so far\n"
      .. "save: sum  WAITING\n"
      .. "waits: 1 task in the queue default, which no worker serves\n")
      :format(r.id), shown(r.id))
    local all = assert(core.json.decode(shown(r.id, "--json")))
    local released = all.nodes[1].released
    assert.is_true(released > 0 and released < 60)
    all.nodes[1].released = nil
    local producer = r.id:sub(1, 12)
    assert.same({
      id = r.id, name = "etl", state = "running", left = 2,
      nodes = {
        { id = producer .. "00000001", name = "load", task = "add",
          state = "released", after = {} },
        { id = producer .. "00000002", name = "save", task = "sum",
          state = "waiting", after = { 1 } },
      },
    }, all)
  end)

  it("is what `taskengine result` names for a flow that goes on", function()
    local id = (s("add", 1, 2) | s("add", 3))().flow.id
    local ended = site.place:run { "result", id }
    assert.same({ 4, "" }, { ended.code, ended.stdout })
    assert.equal(("taskengine: %s: a workflow that goes on, 0 of 2 ended"
      .. " (PENDING)\n"):format(id), ended.stderr:match("^[^\n]*\n"))
    assert.matches("to look at it: taskengine flow " .. id, ended.stderr, 1,
      true)
    local all = core.json.decode(site.place:run({ "result", id, "--json" })
      .stdout)
    assert.same({ "PENDING" }, { all.state, all.place })
  end)

  it("shows a name, and has no terminal obey it", function()
    local r = te.flow { nodes = { one = { s("add", 1, 2) } } }()
    site:key("HSET", "g:" .. r.id:sub(1, 12), "name", "a\27[2Jb\nc")
    assert.equal(("a\\x1b[2Jb c  %s  running, 0 of 1 ended"):format(r.id),
      shown(r.id):match("^[^\n]*"))
  end)

  it("tells of queues that no worker serves, and of no other", function()
    site:worker({ "-P", "1" }, { file = "canvas" })
    local list = { s("add", 1, 2) }
    for i = 2, 4 do
      list[i] = s("add", i, i):set { queue = i == 4 and "b" or "a" }
    end
    local r = te.group(list)()
    wait_until(function()
      return r:completed_count() == 1
    end, 30)
    assert.matches("waits: 2 tasks in the queue a, which no worker serves\n"
      .. "waits: 1 task in the queue b, which no worker serves\n$",
      shown(r.flow.id))
  end)

  it("tells of one of which not all was sent", function()
    local plan = flow_plan.new("part")
    plan:node {}
    local args = plan:pieces()
    site:call("FCALL", "te1_flow", 1, workers.PREFIX, plan.producer, 2, 3, 60,
      "", "", "", table.unpack(args))
    local id = plan:id(0)
    assert.equal(id .. "  incomplete, 1 of 3 sent\nwaits: it begins when its"
      .. " sender has sent all of it; if nobody does, it goes a day after its"
      .. " last piece came\n", shown(id))
    assert.equal("incomplete", core.json.decode(shown(id, "--json")).state)
    local ended = run(id, "--retry-failed")
    assert.equal(1, ended.code)
    assert.matches("nothing is run again: not all of it was sent yet",
      ended.stderr, 1, true)
  end)

  it("prints a picture for Graphviz", function()
    local r = (s("add", 1, 2) | s("add", 3))()
    assert.equal('digraph flow {\n  rankdir=LR;\n  label="";\n'
      .. '  node [style="filled,rounded", fontname="sans-serif"];\n'
      .. '  n1 [label="add", shape=box, fillcolor=lightyellow];\n'
      .. '  n2 [label="add", shape=box, fillcolor=white];\n'
      .. "  n1 -> n2;\n}\n", shown(r.flow.id, "--dot"))
  end)

  it("runs again what failed", function()
    site:worker({ "-P", "1" }, { file = "canvas" })
    local path = site.dir .. "/needed"
    local broken = (s("need_file", path) | s("note", site.dir .. "/notes"))()
    wait_for_end(broken.flow)
    assert.matches("need_file  FAILURE  T s\nnote  UNMET\nfailed: need_file "
      .. broken.flow:node_id(1) .. ": Error: ", shown(broken.flow.id), 1, true)
    files.write(path, site.dir .. "/notes")
    local ended = run(broken.flow.id, "--retry-failed")
    assert.same({ 0, "what failed runs again\n", "" },
      { ended.code, ended.stdout, ended.stderr })
    wait_until(function()
      return site.app:result(broken.id):state() == "SUCCESS"
    end, 30)
    wait_for_end(broken.flow)
    ended = run(broken.flow.id, "--retry-failed")
    assert.same({ 1, "" }, { ended.code, ended.stdout })
    assert.matches("nothing is run again: nothing in it failed", ended.stderr,
      1, true)
  end)

  it("has dead ones that stay dead as long as it goes on", function()
    site:worker({ "-P", "1" }, { file = "canvas" })
    local r = te.chord({ s("fail", "it"), s("add", 1, 2):set {
      queue = "idle" } }, s("sum"))()
    assert.is_false((r:wait(30)))
    local id = r.flow:node_id(1)
    local ended = site.place:run { "dead", "requeue", id }
    assert.same({ 1, "requeued 0 tasks\n" }, { ended.code, ended.stdout })
    assert.matches(id .. " stays dead as long as its flow goes on: requeue it"
      .. " when that has ended", ended.stderr, 1, true)
  end)

  it("runs again with the first of its dead", function()
    site:worker({ "-P", "1" }, { file = "canvas" })
    local path, list = site.dir .. "/needed", {}
    for i = 1, 600 do -- more than one call asks for
      list[i] = s("need_file", path)
    end
    local r = te.group(list)()
    wait_for_end(r.flow)
    files.write(path, "here")
    local ended = site.place:run { "dead", "requeue", "--all", "--yes" }
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    assert.matches("^requeued %d+ tasks\n$", ended.stdout)
    wait_until(function()
      return site.app:result(r.id):state() == "SUCCESS"
    end, 30)
    assert.equal("0", tostring(site:key("ZCARD", "x")))
  end)

  it("says when there is nothing to show", function()
    local ended = run("x")
    assert.equal(2, ended.code)
    assert.matches("'x' is none of the engine's ids", ended.stderr, 1, true)
    local id = core.envelope.id(core.envelope.new_producer(), 0)
    local unknown = '{"id":"' .. id .. '","state":"unknown"}\n'
    for option, text in pairs { ["--json"] = unknown, ["--dot"] = "",
      ["--retry-failed"] = "" } do
      ended = run(id, option)
      assert.same({ 1, text }, { ended.code, ended.stdout })
      assert.matches("nothing is known of a flow " .. id, ended.stderr, 1, true)
    end
    assert.equal(2, run(id, "--dot", "--json").code)
  end)
end)
