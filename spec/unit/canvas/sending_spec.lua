local canvas_site = require("spec.support.canvas_site")
local core = require("taskengine.core")
local misuse = require("spec.support.misuse")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until

local SOON <const> = { timeout = 60 } -- under valgrind, too
local NO_NAMES <const> = "node: no names are kept of this flow: it is no"
  .. " te.flow, or they take more than 64 KiB; app:result takes the id of a"
  .. " node, which taskengine flow --json shows"

describe("A canvas that is sent", function()
  local site = canvas_site.for_each_spec()
  local add, sum, fail, note

  before_each(function()
    add, sum, fail, note = site:tasks()
  end)

  local function error_of(one)
    local ok, e = pcall(one.get, one, SOON)
    assert.is_false(ok)
    assert.equal(te.TaskError, getmetatable(e))
    return e
  end

  it("adds step by step in a chain", function()
    assert.equal(25, te.chain(add:s(4, 6), add:s(10), add:s(5))():get(SOON))
    assert.equal(25, (add:s(4, 6) | add:s(10) | add:s(5))():get(SOON))
    assert.equal(25, te.chain(te.chain(add:s(4, 6)), add:s(10) | add:s(5))()
      :get(SOON))
  end)

  it("takes arguments when it is called", function()
    assert.equal(10, (add:s(1) | add:s(2))(7):get(SOON))
    assert.equal(10, add:s(3):delay(7):get(SOON))
    assert.equal(10, add:s(7, 3)():get(SOON))
  end)

  it("runs a group, with results in order", function()
    local r = te.group { add:s(2, 2), add:s(4, 4), add:s(8, 8) }:apply_async()
    assert.same({ 4, 8, 16, n = 3 }, r:get(SOON))
    assert.same({ 4, 8, 16, n = 3 }, r:join(SOON))
    assert.equal(3, r:completed_count())
    assert.equal(3, #r)
    assert.equal(16, r[3]:get())
    assert.is_true(r:ready() and r:successful() and not r:failed())
    assert.equal("SUCCESS", r:state())
  end)

  it("yields members of a group as they end", function()
    local r = te.group { add:s(1, 1), add:s(2, 2) }()
    local seen = {}
    for one in r:iter(10) do
      seen[#seen + 1] = one:get()
    end
    table.sort(seen)
    assert.same({ 2, 4 }, seen)
  end)

  it("is taken by what waits for many results", function()
    local r = te.group { add:s(1, 1), add:s(2, 2) }()
    local done, pending = te.wait(r, 10)
    assert.same({ 2, 0 }, { #done, #pending })
    local total = 0
    for one in te.as_completed(r, 10) do
      total = total + one:get()
    end
    assert.equal(6, total)
  end)

  it("speaks JSON where the app does", function()
    site.app:close()
    site.app:configure { serializer = "json" }
    local r = (te.group { add:s(1, 1), add:s(2, 2) } | note:s("x"))()
    assert.equal(2, r:get(SOON))
    assert.same({ { n = 2, { 2, 4, n = 2 }, "x" } }, site.noted)
    assert.same({ 2, 4, n = 2 }, te.group { add:s(1, 1), add:s(2, 2) }()
      :get(SOON))
    assert.same({ 2, 6 }, (add:starmap { { 1, 1 }, { 3, 3 } })():get(SOON))
    assert.equal("Broken", error_of(fail:s():link(add:s(1))()).kind)
  end)

  it("runs a chord", function()
    local header = te.group { add:s(1, 1), add:s(2, 2), add:s(3, 3) }
    assert.equal(12, te.chord(header)(sum:s()):get(SOON))
    assert.equal(12, te.chord(header, sum:s())():get(SOON))
    assert.equal(12, (header | sum:s())():get(SOON))
  end)

  it("nests", function()
    local chord = te.chord({ add:s(1, 1), add:s(2, 2) }, sum:s())
    assert.equal(16, te.chord({ chord, add:s(5, 5) }, sum:s())():get(SOON))
    assert.same({ 7, 6, n = 2 }, te.group {
      add:s(1, 2) | add:s(4), add:s(3, 3),
    }():get(SOON))
    assert.same({ { 4, 5, n = 2 }, 9, n = 2 }, te.group {
      add:s(1, 2) | te.group { add:s(1), add:s(2) }, add:s(4, 5),
    }():get(SOON))
    assert.same({ 6, 6, n = 2 }, te.chain(
      te.group { add:s(1, 1), add:s(2, 2) },
      te.group { sum:s(), sum:s() })():get(SOON))
    assert.equal(6, te.chain(add:s(1, 0),
      te.group { add:s(1), add:s(3) }, sum:s())():get(SOON))
  end)

  it("is a table at once where a group is empty", function()
    assert.same({ n = 0 }, te.group {}():get(SOON))
    assert.equal(0, (te.group {} | sum:s())():get(SOON))
    assert.equal(0, te.chord({}, sum:s())():get(SOON))
    assert.same({ n = 0 }, te.chain(add:s(1, 1), te.group {})():get(SOON))
    assert.equal(0, #te.group {}())
  end)

  it("is refused where empty groups are all that it is made of", function()
    for _, one in ipairs {
      te.flow { nodes = { a = { te.group {} } } },
      te.chain(te.flow { nodes = { a = { te.group {} } } }),
      te.group { te.chain(te.group {}) },
    } do
      assert.equal("there is no task in this canvas, only groups without"
        .. " members: leave away what has nothing to do, or put a task into it",
        misuse(one))
    end
    assert.same({ n = 0 }, te.chain(te.group { te.group {} })():get(SOON))
    assert.same({ a = { n = 0 }, b = 3 }, te.flow {
      nodes = { a = { te.group {} }, b = { add:s(1, 2) } },
    }():get(SOON))
    assert.same({ { n = 0 }, 3, n = 2 },
      te.group { te.chain(te.group {}), add:s(1, 2) }():get(SOON))
  end)

  it("passes nothing to what is immutable", function()
    assert.equal(3, (add:s(5, 5) | add:si(1, 2))():get(SOON))
    assert.equal(0, (te.group { add:s(1, 1), add:s(1, 1) } | note:si())()
      :get(SOON))
  end)

  it("keeps nil in its place", function()
    local none = site.app:task("none", function() end)
    ;(te.group { none:s(), add:s(1, 1) } | note:s(nil, 7))():get(SOON)
    assert.same({ { n = 3, { n = 2, nil, 2 }, nil, 7 } }, site.noted)
    ;(none:s() | note:s(7))():get(SOON)
    assert.same({ n = 2, nil, 7 }, site.noted[2])
  end)

  it("calls a task for each element of a list", function()
    assert.same({ 2, 4 }, site.app:task("double", function(x)
      return 2 * x
    end):map({ 1, 2 })():get(SOON))
    assert.same({ 3, 7 }, add:starmap({ { 1, 2 }, { 3, 4 } })():get(SOON))
    assert.same({ { 3, 7 }, { 11 }, n = 2 },
      add:chunks({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, 2)():get(SOON))
    assert.equal(3, site:count("add"))
  end)

  it("maps the result before it, in a bound task, too", function()
    local double = site.app:task("double", { bind = true }, function(self, x)
      return self.name .. x
    end)
    local list = site.app:task("list", function()
      return { 1, 2 }
    end)
    assert.same({ "double1", "double2" }, (list:s() | double:map())()
      :get(SOON))
  end)

  it("sends each part as its own task, with its own options", function()
    local function names(queue)
      local list = site.shard:redis("LRANGE", "r:" .. queue, 0, -1)
      for i, bytes in ipairs(list) do
        list[i] = core.envelope.read(bytes).name
      end
      return list
    end
    site.is_resting = true
    te.group { add:s(1, 1), note:s(), add:s(2, 2):set { queue = "fast" } }
      :set({ queue = "slow" })()
    assert.same({ "add", "note" }, names("slow"))
    assert.same({ "add" }, names("fast"))
  end)

  it("goes by the settings that its app has now", function()
    local function send()
      return (add:s(1, 1) | note:s("\xff"))():get(SOON)
    end
    assert.equal(2, send())
    site.app:close()
    site.app:configure { serializer = "json" }
    local ok, e = pcall(send)
    assert.is_false(ok)
    assert.equal("CannotTravel", e.kind)
  end)

  it("asks each time where a task belongs that is not defined here", function()
    local far = site.app:signature("far")
    local about = core.codec.encode { queues = { "slow" },
      tasks = { far = { queue = "slow" } } }
    site.is_resting = true
    local first = (far | add:si(1, 1))()
    site.shard:call("register", "w2", 15000, about, "slow")
    local second = (far | add:si(1, 1))()
    assert.same({ first.flow:node_id(1) }, site.shard:ready("default"))
    assert.same({ second.flow:node_id(1) }, site.shard:ready("slow"))
  end)

  it("is sent by name where it would be without a callback", function()
    local about = core.codec.encode { queues = { "slow" },
      tasks = { far = { queue = "slow" } } }
    site.shard:call("register", "w2", 15000, about, "slow")
    site.is_resting = true
    local opts = { link = note:s() }
    local alone = site.app:send_task("far")
    local r = site.app:send_task("far", {}, opts)
    assert.same({ alone.id, r.id }, site.shard:ready("default"))
    opts.queue = "slow"
    r = site.app:send_task("far", {}, opts)
    assert.same({ r.id }, site.shard:ready("slow"))
  end)

  it("fails where it breaks, and names the cause", function()
    local r = (add:s(1, 1) | fail:s() | add:s(1))()
    local e = error_of(r)
    assert.same({ "DependencyFailed", "Broken", "it is broken" },
      { e.kind, e.cause.kind, e.cause.message })
    assert.equal(e.value.id, e.cause.id)
    assert.equal(1, site:count("add"))
  end)

  it("fails a chord with a member, once", function()
    local e = error_of((te.group { add:s(1, 1), fail:s(), fail:s() }
      | sum:s())())
    assert.same({ "DependencyFailed", "Broken" }, { e.kind, e.cause.kind })
    assert.equal(0, site:count("sum"))
  end)

  it("raises the member's own error for a group", function()
    local r = te.group { add:s(1, 1), fail:s() }()
    assert.equal("Broken", error_of(r).kind)
    assert.same({ false, "Broken" }, { select(1, r:wait(10)),
      select(2, r:wait(10)).kind })
    assert.equal("Broken", select(2, pcall(r.join, r, SOON)).kind)
    local values = r:join { timeout = 10, propagate = false }
    assert.same({ 2, "Broken", 2 }, { values[1], values[2].kind, values.n })
  end)

  it("runs callbacks beside what it is for", function()
    local r = (add:s(1, 1):link(note:s("linked")) | add:s(5))()
    assert.equal(7, r:get(SOON))
    wait_until(function()
      return #site.noted == 1
    end)
    assert.same({ n = 2, 2, "linked" }, site.noted[1])
  end)

  it("runs an error callback once, with the error of the cause", function()
    local r = te.chain(add:s(1, 1), fail:s(), add:s(1))
      :on_error(note:s("failed"))()
    local e = error_of(r)
    wait_until(function()
      return #site.noted > 0
    end)
    local got = site.noted[1][1]
    assert.same({ "Broken", "it is broken", e.cause.id, "failed" },
      { got.kind, got.message, got.id, site.noted[1][2] })
    assert.equal(1, #site.noted)
  end)

  it("skips an error callback that is not needed", function()
    local r = te.chain(add:s(1, 1), add:s(1)):on_error(note:s())()
    assert.equal(3, r:get(SOON))
    wait_until(function()
      return r.flow:info().left == 0
    end)
    assert.equal(0, #site.noted)
  end)

  it("takes callbacks as options of a single task", function()
    local r = add:apply_async({ 1, 1 }, { link = note:s(), link_error =
      note:si("no") })
    assert.equal(2, r:get(SOON))
    wait_until(function()
      return r.flow:info().left == 0
    end)
    assert.same({ { n = 1, 2 } }, site.noted)
  end)

  it("takes them of a task that is sent by its name", function()
    local r = site.app:send_task("add", { 1, 1 }, { link = note:s("linked") })
    assert.equal(2, r:get(SOON))
    r = site.app:send_task("fail", {}, { link_error = note:s("failed") })
    assert.equal("Broken", error_of(r).kind)
    wait_until(function()
      return #site.noted == 2
    end)
    assert.same({ 2, "linked" }, { table.unpack(site.noted[1]) })
    assert.same({ "Broken", "failed" }, { site.noted[2][1].kind,
      site.noted[2][2] })
  end)

  it("runs a flow, with the policy of each edge", function()
    local r = te.flow {
      name = "etl",
      nodes = {
        a = { fail:s() },
        b = { add:s(1, 2) },
        c = { note:s("c"), after = { "b", a = "ignore" } },
        d = { note:s("d"), after = { a = "continue" } },
      },
    }()
    assert.same({ c = 3, d = 2 }, r:get(SOON))
    table.sort(site.noted, function(one, other)
      return one.n > other.n
    end)
    assert.same({ n = 3, 3, nil, "c" }, site.noted[1])
    assert.same({ "Broken", "d" }, { site.noted[2][1].kind,
      site.noted[2][2] })
    assert.equal(r:node("a").id, site.noted[2][1].id)
    assert.equal("FAILURE", r:node("a"):state())
    assert.equal(4, r:completed_count())
    assert.is_true(r:ready())
    assert.equal("etl", r.flow:info().name)
  end)

  it("keeps the names of a flow in a flow apart", function()
    local inner = te.flow {
      nodes = { a = { add:s(3, 4) }, z = { add:s(5), after = { "a" } } },
    }
    local r = te.flow {
      nodes = {
        a = { add:s(1, 2) },
        b = { inner, after = { "a" } },
        z = { note:s(), after = { "a" } },
      },
    }()
    assert.same({ b = { z = 11 }, z = 1 }, r:get(SOON))
    assert.equal(3, r:node("a"):get())
  end)

  it("fails a flow whose node fails", function()
    local r = te.flow {
      nodes = { a = { fail:s() }, b = { add:s(1), after = { "a" } } },
    }()
    assert.equal("Broken", error_of(r).kind)
    local ok, e = r:wait(10)
    assert.same({ false, "Broken" }, { ok, e.kind })
    assert.error_matches(function()
      r:node("bb")
    end, "the flow has no node 'bb' (did you mean 'b'?)", 1, true)
  end)

  it("gives a flow within a canvas as a table by names", function()
    local inner = te.flow {
      nodes = { a = { add:s(1, 2) }, b = { add:s(3, 4) } },
    }
    ;(inner | note:s())():get(SOON)
    assert.same({ { n = 1, { a = 3, b = 7 } } }, site.noted)
    assert.same({ { a = 3, b = 7 }, 2, n = 2 },
      te.group { inner, add:s(1, 1) }():get(SOON))
  end)

  it("reads the results of a large group page by page", function()
    local list = {}
    for i = 1, 2500 do
      list[i] = add:s(i, 0)
    end
    local r = te.group(list)()
    local values = r:get(SOON)
    assert.same({ 1, 2500, 2500 }, { values[1], values[2500], values.n })
    assert.equal(3126250, (te.group(list) | sum:s())():get(SOON))
  end)

  it("streams the results of a group to a task that wants it", function()
    local totals = {}
    local streamed = site.app:task("streamed", { stream = true },
      function(parts, factor)
        local total, last = 0, 0
        for i, value in parts do
          total, last = total + value, i
        end
        totals[#totals + 1] = #parts
        return (total + last) * factor
      end)
    local function chord_of(n)
      local list = {}
      for i = 1, n do
        list[i] = add:s(i, 0)
      end
      return (te.group(list) | streamed:s(10))():get(SOON)
    end
    assert.equal(90, chord_of(3)) -- 1 + 2 + 3, and the last place
    assert.equal(31287500, chord_of(2500))
    assert.same({ 3, 2500 }, totals)
  end)

  it("knows its flow while a task runs", function()
    local seen
    local look = site.app:task("look", { bind = true }, function(self)
      seen = { self.id, self.root_id }
      return 1
    end)
    local r = (add:s(1, 1) | look:si())()
    r:get(SOON)
    assert.same({ r.id, r.flow.id }, seen)
  end)

  it("is revoked as a whole", function()
    site.is_resting = true
    local r = (te.group { add:s(1, 1), add:s(2, 2) } | sum:s())()
    assert.is_true(r.flow:revoke())
    site.is_resting = false
    assert.equal("Revoked", error_of(r).kind)
    assert.is_false(r.flow:revoke())
    assert.equal(0, #site.begun)
  end)

  it("is found again by its ids", function()
    local r = (te.group { add:s(1, 1), fail:s() } | sum:s())()
    error_of(r)
    local flow = site.app:flow(r.id)
    assert.equal(r.flow.id, flow.id)
    wait_until(function()
      return flow:info().state == "DONE"
    end)
    assert.is_true(site.app:flow(flow.id):retry())
    r = te.group { add:s(1, 1), add:s(2, 2) }()
    r:get(SOON)
    assert.same({ 2, 4, n = 2 }, site.app:result(r.id):get(SOON))
    assert.error_matches(function()
      site.app:flow("mine")
    end, "flow: an id of the engine's expected, got \"mine\"", 1, true)
  end)

  it("is found again by the names of its nodes", function()
    local inner = te.flow { nodes = { a = { add:s(3) } } }
    local r = te.flow {
      nodes = { a = { add:s(1, 2) }, b = { inner, after = { "a" } } },
    }()
    r:get(SOON)
    assert.equal(6, r:node("b.a"):get(SOON))
    assert.equal("node: the flow has no node 'b.b' (did you mean 'b.a'?)",
      misuse(r.node, r, "b.b"))
    local flow = site.app:flow(r.id)
    assert.equal(3, flow:node("a"):get(SOON))
    assert.equal(6, flow:node("b.a"):get(SOON))
    assert.same({ a = 6 }, flow:node("b"):get(SOON))
    assert.equal("node: the flow has no node 'b.b' (did you mean 'b.a'?)",
      misuse(flow.node, flow, "b.b"))
    flow = te.group { inner, inner }(1).flow
    assert.equal("node: 2 nodes are called 'a'; app:result takes the id of one,"
      .. " which taskengine flow --json shows", misuse(flow.node, flow, "a"))
  end)

  it("says what to do where the names of nodes are not kept", function()
    site.is_resting = true
    local nodes = {}
    for i = 1, 70 do
      nodes[("a"):rep(1000) .. i] = { add:s(i, i) }
    end
    local many, one = te.flow { nodes = nodes }().flow,
      te.group { add:s(1, 2) }().flow
    assert.equal(NO_NAMES, misuse(many.node, many, ("a"):rep(1000) .. 1))
    assert.equal(NO_NAMES, misuse(one.node, one, "add"))
  end)

  it("heeds no names that are none", function()
    local r = te.flow { nodes = { a = { add:s(1, 2) } } }()
    local labels = { [0] = "a", [1] = 7, [1.5] = "a", [2] = "a", x = "a" }
    for _, bytes in ipairs { core.codec.encode(labels, "x"), "\255", "" } do
      site.shard:redis("HSET", "g:" .. r.id:sub(1, 12), "x", bytes)
      assert.equal(NO_NAMES, misuse(r.flow.node, r.flow, "a"))
    end
  end)

  it("is not found by a task that was sent alone", function()
    local flow = site.app:flow(add:delay(1, 1).id)
    assert.matches("^Forgotten: .* or the id is that of a task in none ",
      misuse(flow.node, flow, "a"))
    assert.is_false(flow:revoke())
  end)

  it("forgets", function()
    local r = te.group { add:s(1, 1), add:s(2, 2) }()
    r:get(SOON)
    assert.equal(3, r:forget())
    assert.equal("Forgotten", error_of(r).kind)
    assert.equal("Forgotten", error_of(r[1]).kind)
  end)

  it("changes nothing when an end is told twice", function()
    site.repeats = 2
    local list = {}
    for i = 1, 40 do
      list[i] = te.chord({ add:s(i, 1), add:s(i, 2) }, sum:s())
    end
    assert.equal(1760, (te.group(list) | sum:s())():get(SOON))
    assert.equal(41, site:count("sum"))
  end)
end)
