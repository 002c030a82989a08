local core = require("taskengine.core")
local misuse = require("spec.support.misuse")
local results = require("taskengine.results")
local shard_client = require("spec.support.shard_client")
local te = require("taskengine")
local unique = require("taskengine.unique")

local success = shard_client.success

describe("taskengine.unique", function()
  local function digest(option, ...)
    local bytes = unique.digest(unique.rule("add", option), "add",
      table.pack(...))
    assert.equal(16, #bytes)
    return (bytes:gsub(".", function(c)
      return ("%02x"):format(c:byte())
    end))
  end

  it("digests the name and the arguments as docs/protocol.md says", function()
    assert.equal("5aec9a2955f085576daefd7efb0217ab",
      digest(true, 4, 6))
    assert.equal("27946928324902eee4278a90f41c52a3",
      digest(true, { a = 1, b = { 1, 2 } }))
  end)

  it("digests what the task's own key says instead of the arguments",
    function()
      assert.equal("396c2a7124f7952157f89c7d9d839fa4",
        digest({ key = "2026" }, 4, 6))
      local function key(month, n)
        return n == 7 and { month, n } or month
      end
      assert.equal("396c2a7124f7952157f89c7d9d839fa4",
        digest({ key = key }, "2026", 6))
      assert.equal("64cff87096b9a41f9fbc0cb57335c8d2",
        digest({ key = key }, "x", 7))
    end)

  it("has one digest for the same table, in whatever order it was filled",
    function()
      local forwards, backwards = {}, {}
      for i = 1, 200 do
        forwards["key" .. i] = { i, x = { y = i } }
        backwards["key" .. 201 - i] = { 201 - i, x = { y = 201 - i } }
      end
      assert.equal(digest(true, forwards), digest(true, backwards))
      backwards.key7.x.y = 8
      assert.not_equal(digest(true, forwards), digest(true, backwards))
    end)

  it("has another digest for whatever is another call", function()
    local all, seen = {
      table.pack(), table.pack(nil), table.pack(nil, nil), table.pack(1),
      table.pack(1.0), table.pack("1"), table.pack(true), table.pack(false),
      table.pack({}), table.pack({ 1 }), table.pack({ [2] = 1 }),
      table.pack({ ["1"] = 1 }), table.pack({ te.null }), table.pack({ {} }),
      table.pack({}, {}), table.pack({ 1, 2 }), table.pack(1, 2),
      table.pack({ { 1 }, 2 }), table.pack({ 1, { 2 } }), table.pack("a", "b"),
      table.pack("ab"), table.pack({ a = { b = 1 } }),
      table.pack({ a = {}, b = 1 }),
    }, {}
    for i, args in ipairs(all) do
      local one = digest(true, table.unpack(args, 1, args.n))
      assert.is_nil(seen[one], i)
      seen[one] = true
    end
    assert.not_equal(digest(true, 0, 1), digest({ key = "\0\1" }))
  end)

  it("has another digest for a call for each of a list", function()
    local seen = {}
    for _, option in ipairs { true, { key = "k" } } do
      local rule = unique.rule("add", option)
      for _, over in ipairs { false, "map", "starmap" } do
        local one = unique.digest(rule, "add", { { 1 } }, over or nil)
        assert.is_nil(seen[one], over)
        seen[one] = true
      end
    end
  end)

  it("leaves what cannot travel to whoever packs it", function()
    local round = {}
    round[1] = round
    local deep = {}
    for _ = 1, 500 do
      deep = { deep }
    end
    for _, value in ipairs { round, deep, print, { print }, { [print] = 1 } } do
      assert.equal(32, #digest(true, value))
    end
  end)

  it("says what is wrong with a key", function()
    local function problem(key)
      local rule = unique.rule("add", { key = key })
      return misuse(unique.digest, rule, "add", { 1 })
    end
    assert.equal("task 'add': the key of a unique task returned nothing, it has"
      .. " to say which tasks are the same", problem(function() end))
    assert.equal("task 'add': the key of a unique task: key.f: a function"
      .. " cannot be sent", problem(function()
        return { f = print }
      end))
  end)

  it("says when two names of one field are there", function()
    assert.equal("task 'add': unique: release and until say the same, one will"
      .. " do", misuse(unique.rule, "add",
        { release = "started", ["until"] = "started" }))
  end)
end)

describe("a unique task", function()
  local site = shard_client.for_each_spec()
  local app

  before_each(function()
    app = te.app("spec")
    app.opened = site.way
  end)

  local function new(option)
    return app:task("add", { unique = option }, function(x)
      return x
    end)
  end

  local function ready()
    return site.shard:ready("default")
  end

  it("is made once: each call's result is that of the one there", function()
    local add = new(true)
    local first = add:delay({ a = 1, b = 2 })
    local second = add:delay({ b = 2, a = 1 })
    local other = add:delay({ a = 1 })
    assert.equal(first.id, second.id)
    assert.same({ first.id, other.id }, ready())
    site:finish_later(1, 2, success(7))
    assert.equal(7, second:get())
    assert.equal(7, first:get())
    assert.not_equal(first.id, add:delay({ a = 1, b = 2 }).id)
  end)

  it("is so for one call, or is not", function()
    local add = new(true)
    local first = add:delay(1)
    assert.not_equal(first.id, add:apply_async({ 1 }, { unique = false }).id)
    local plain = app:task("plain", function() end)
    local one = plain:apply_async({ 1 }, { unique = true })
    assert.equal(one.id, plain:apply_async({ 1 }, { unique = true }).id)
    assert.not_equal(one.id, plain:delay(1).id)
    assert.equal(4, #ready())
    assert.equal(app:send_task("far", { 1 }, { unique = true }).id,
      app:send_task("far", { 1 }, { unique = true }).id)
  end)

  it("is another one when it is called for each of a list", function()
    local add = new(true)
    local first, mapped = add:delay({ 1, 2 }), add:map({ 1, 2 })()
    assert.not_equal(first.id, mapped.id)
    assert.equal(mapped.id, add:map({ 1, 2 })().id)
    assert.not_equal(mapped.id, add:starmap({ 1, 2 })().id)
  end)

  it("takes no callbacks, which would make another one each time", function()
    local add, plain = new(true), app:task("plain", function() end)
    local wanted = "'add' is unique, but what has link or link_error is a"
      .. " canvas, and made anew each time: send them from the task, or say"
      .. " unique = false for this call"
    assert.equal(wanted,
      misuse(add.apply_async, add, { 1 }, { link = plain:s() }))
    assert.equal(wanted, misuse(add:s(1):on_error(plain:s())))
    add:apply_async({ 1 }, { link = plain:s(), unique = false })
    assert.equal(1, #ready())
  end)

  it("gives its own key the arguments, not the task itself", function()
    local got
    local add = app:task("add", { bind = true, unique = { key = function(...)
      got = table.pack(...)
      return got[1]
    end } }, function() end)
    local first = add:delay("a", nil, 3)
    assert.same({ "a", nil, 3, n = 3 }, got)
    assert.equal(first.id, add:delay("a", 4).id)
    assert.not_equal(first.id, add:delay("b").id)
  end)

  it("sends nothing when its key raises an error", function()
    local add = new { key = function()
      error("no key today", 0)
    end }
    local ok, problem = pcall(add.delay, add, 1)
    assert.same({ false, "no key today" }, { ok, problem })
    ok, problem = pcall(app.enqueue_many, app, add, { { 1 } })
    assert.same({ false, "no key today" }, { ok, problem })
    assert.same({}, ready())
  end)

  it("locks for a time, or until it is started", function()
    local function lock(option)
      local add = app:task("t" .. math.random(0), { unique = option },
        function() end)
      add:delay(1)
      local call = site.transport.calls[#site.transport.calls]
      return { call.args[9], core.envelope.read(call.args[5]).flags }
    end
    assert.same({ "l", 0 }, lock(true))
    assert.same({ "l", 0 }, lock {})
    assert.same({ "l1500", 0 }, lock { for_s = 1.5 })
    assert.same({ "l", 32 }, lock { release = "started" })
    assert.same({ "l", 32 }, lock { ["until"] = "started" })
    assert.same({ "l9000", 0 }, lock { release = "finished", for_s = 9 })
  end)

  it("takes no id of the caller's besides, but one that settles a doubt",
    function()
      local add = new(true)
      assert.equal("task 'add': task_id and unique both say which tasks are the"
        .. " same, one will do (unique = false for this call)",
        misuse(add.apply_async, add, { 1 }, { task_id = "mine" }))
      assert.equal("mine", add:apply_async({ 1 },
        { task_id = "mine", unique = false }).id)
      local theirs = "Producer0009" .. "00000003"
      assert.equal(theirs, add:apply_async({ 1 }, { task_id = theirs }).id)
      assert.equal(theirs, add:delay(1).id)
      -- Another is there by now: its id it is.
      local late = "Producer0008" .. "00000001"
      assert.equal(theirs, add:apply_async({ 1 }, { task_id = late }).id)
      assert.equal(2, #ready())
    end)

  for _, fault in ipairs { "lost", "answer lost" } do
    it("is made once when nobody knows whether it was: " .. fault, function()
      site:open { broker_timeout = 0.02 }
      app.opened = site.way
      local add = new(true)
      local there = add:delay(1)
      for n, unknown in ipairs { 1, 2 } do
        function site.transport.decide()
          return fault
        end
        local _, e = pcall(add.delay, add, unknown)
        assert.is_true(e.indeterminate)
        site.transport.decide = nil
        site.transport:restore()
        local one = add:apply_async({ unknown }, { task_id = e.id })
        assert.equal(n == 1 and there.id or e.id, one.id)
        assert.equal(n == 1 and there.id or e.id, add:delay(unknown).id)
        assert.equal(n, #ready())
      end
    end)
  end

  it("keeps its number apart when the producer gets new ones", function()
    local add = new(true)
    local first = add:delay(1)
    site.shard:redis("DEL", "i:" .. first.id:sub(1, 12))
    assert.equal(first.id, add:delay(1).id)
    local second = add:delay(2)
    assert.not_equal(first.id:sub(1, 12), second.id:sub(1, 12))
    local theirs = "Producer0009" .. "00000003"
    site.shard:redis("DEL", "i:" .. second.id:sub(1, 12))
    assert.equal(theirs, add:apply_async({ 3 }, { task_id = theirs }).id)
  end)

  describe("of which many are sent", function()
    it("is made once for each, also of those in the list", function()
      local add, list = new(true), {}
      local there = add:delay(7)
      for i = 1, 2500 do
        list[i] = { i % 1000 }
      end
      local all = app:enqueue_many(add, list)
      assert.equal(1000, #ready())
      assert.equal(there.id, all[7].id)
      for i = 1, 2500 do
        assert.equal(results.id(all, (i - 1) % 1000 + 1), results.id(all, i))
        assert.equal(results.id(all, i), all[i].id)
      end
    end)

    it("brings each result to each", function()
      local add = new(true)
      local all = app:enqueue_many(add, { { 1 }, { 2 }, { 1 } })
      site:finish_later(1, 1, success("one"))
      site:finish_later(2, 1, success("two"))
      local values = {}
      for r in te.as_completed(all, 5) do
        values[#values + 1] = r:get()
      end
      assert.same({ "one", "one", "two" }, values)
    end)

    it("says which call cannot travel", function()
      local add = new(true)
      local ok, e = pcall(app.enqueue_many, app, add, { { 1 }, { print } })
      assert.is_false(ok)
      assert.same({ "CannotTravel", "add",
        "call 2: args[1]: a function cannot be sent" },
        { e.kind, e.name, e.message })
    end)
  end)
end)
