--- The page for those who come from Celery.

local bound = require("taskengine.bound")
local canvas = require("taskengine.canvas")
local canvas_site = require("spec.support.canvas_site")
local core = require("taskengine.core")
local group_result = require("taskengine.canvas.group_result")
local handle = require("taskengine.canvas.handle")
local result = require("taskengine.result")
local te = require("taskengine")

local PAGE <const> = "docs/celery.md"

local SOON <const> = { timeout = 10 }

local function read_rows()
  local rows = {}
  for line in io.lines(PAGE) do
    local theirs, ours = line:gsub("\\|", "\0"):match("^| (.-) | (.-) |$")
    if theirs and theirs ~= "Celery" then
      rows[#rows + 1] = { theirs = theirs, ours = ours }
    end
  end
  return rows
end

describe("the page for those who come from Celery", function()
  local rows = read_rows()

  it("says of each feature same, better or not, and how or why", function()
    assert.is_true(#rows > 100)
    for _, row in ipairs(rows) do
      local word, rest = row.ours:match("^(%l+)(.*)$")
      assert.is_true(word == "same" or rest ~= ""
        and (word == "better" or word == "not"), row.theirs)
      assert.is_true(word == "same" or rest:find("[:;]") ~= nil, row.theirs)
    end
  end)

  it("names methods that there are", function()
    local app = te.app("page")
    local one = app:task("one", function() end)
    local flow = handle.new(nil, ("x"):rep(12))
    local owners = {
      app = app, task = one, sig = one:s(), group = canvas.group(),
      self = bound.here("one", { n = 0 }), result = result.new(nil, "an-id"),
      ["result.flow"] = flow, results = group_result.empty(), te = te,
    }
    local seen = 0
    for _, row in ipairs(rows) do
      for owner, name in row.ours:gmatch("`([%l.]+)[:.]([%l_]+)[ (]") do
        local there = owners[owner]
        assert.is_function(there and there[name], owner .. ":" .. name)
        seen = seen + 1
      end
    end
    assert.is_true(seen > 30)
    for _, name in ipairs { "get", "join", "ready", "successful", "failed",
      "forget", "iter", "wait", "children", "parent" } do
      assert.is_function(group_result.empty()[name], name)
    end
  end)
end)

describe("what the page for those who come from Celery says of", function()
  local site = canvas_site.for_each_spec()
  local rows = read_rows()
  local add, sum, fail, note

  before_each(function()
    add, sum, fail, note = site:tasks()
  end)

  -- A spec of a row that stands there, with that word.
  local function says(theirs, word, holds)
    it(theirs .. ", " .. word, function()
      local ours
      for _, row in ipairs(rows) do
        ours = ours or row.theirs:find(theirs, 1, true) and row.ours
      end
      assert.equal(word, ours and ours:match("^%l+"))
      holds()
    end)
  end

  local function ended(one)
    one:wait(10)
    return one
  end

  says("partial arguments, call arguments in front", "same", function()
    te.chain(add:s(1, 1), note:s("own"))():get(SOON)
    note:s("own")("called"):get(SOON)
    assert.same({ { n = 2, 2, "own" }, { n = 2, "called", "own" } }, site.noted)
  end)

  says("options of a call win over those of the signature", "same", function()
    site.is_resting = true
    local one = add:s(1):set { priority = 1, countdown = 60 }
    one:apply_async({}, { priority = 9, eta = 1 })
    -- What was due long ago may begin at once.
    local envelopes = site.shard:fetch("w1", 10)
    assert.equal(1, #envelopes)
    assert.equal(9, core.envelope.read(envelopes[1]).priority)
  end)

  says("the id of a chain is that of its last task", "same", function()
    local look = site.app:task("look", { bind = true }, function(self)
      return self.id
    end)
    local r = (add:s(1, 1) | look:si())()
    assert.equal(r.id, r:get(SOON))
  end)

  says("nested chains and groups are one", "same", function()
    assert.same({ 1, 2, 3, n = 3 }, te.group {
      te.group { add:s(1, 0), add:s(2, 0) }, te.chain { add:s(3, 0) },
    }():get(SOON))
  end)

  says("`link`, `link_error`", "better", function()
    ended(site.app:send_task("fail", {}, { link_error = note:si("failed") }))
    ended(site.app:send_task("add", { 1, 1 }, { link = note:si("ended") }))
    ended(note:s("here")())
    local words = {}
    for i, args in ipairs(site.noted) do
      words[i] = args[1]
    end
    table.sort(words)
    assert.same({ "ended", "failed", "here" }, words)
  end)

  says("empty header: the body gets `[]`", "same", function()
    te.chord({}, note:s())():get(SOON)
    assert.same({ { n = 1, { n = 0 } } }, site.noted)
  end)

  says("a failed header member", "same", function()
    local _, e = te.chord({ add:s(1, 1), fail:s() }, sum:s())():wait(10)
    assert.same({ "DependencyFailed", "Broken", 0 },
      { e.kind, e.cause.kind, site:count("sum") })
  end)

  says("GroupResult: `get`, `join`, `successful`, `failed`, `forget`", "same",
    function()
      local good = te.group { add:s(1, 1), add:s(2, 2) }()
      local bad = te.group { add:s(1, 1), fail:s() }()
      ended(bad)
      assert.same({ 2, 4, n = 2 }, good:join(SOON))
      assert.same({ true, false, false, true }, { good:successful(),
        good:failed(), bad:successful(), bad:failed() })
    end)

  says("GroupResult: `ready`, all have ended", "better", function()
    local late = add:s(1, 1):set { countdown = 3600 }
    local r = te.group { fail:s(), late }()
    assert.is_false(ended(r):successful())
    assert.is_true(r:ready())
    r = te.group { add:s(1, 1), late }()
    ended(r[1])
    assert.is_false(r:ready())
  end)

  says("`completed_count`, of those that have succeeded", "better", function()
    local r = te.group { fail:s(), add:s(1, 1), add:s(2, 2) }()
    r:join { timeout = 10, propagate = false }
    assert.equal(3, r:completed_count())
  end)

  says("`waiting`", "same", function()
    local r = te.group { fail:s(), add:s(1, 1):set { countdown = 3600 } }()
    ended(r[1])
    assert.is_true(r:completed_count() < #r)
    r:revoke()
    ended(r[2])
    assert.is_false(r:completed_count() < #r)
    r = te.flow { nodes = { a = { add:s(1, 1) },
      b = { add:s(1):set { countdown = 3600 }, after = { "a" } } } }()
    ended(r:node("a"))
    assert.is_true(r:completed_count() < #r)
    r:revoke()
    ended(r)
    assert.is_false(r:completed_count() < #r)
  end)

  says("`GroupResult.save`, `restore`", "better", function()
    local group = te.group { add:s(1, 1), add:s(2, 2) }()
    local again = site.app:result(group.id)
    assert.same({ 2, 4, n = 2 }, again:get(SOON))
    assert.same({ true, { 2, 4, n = 2 } }, { again:wait(10) })
    assert.same({}, { again.iter, again.join, again.completed_count })
    local flow = site.app:flow(group.id)
    assert.same({ 3, 0 }, { flow:info().nodes, flow:info().left })
    assert.same({ { false, "nothing" }, { false, "finished" } },
      { { flow:retry() }, { flow:revoke() } })
    assert.same({}, { flow.iter, flow.join, flow.completed_count })
  end)

  says("GroupResult: `revoke`", "better", function()
    local r = te.group { add:s(1, 1), add:s(2, 2) }:set { countdown = 3600 }
      :link(note:s())()
    r:revoke()
    assert.same({ "REVOKED", 0 }, { r:state(), r.flow:info().left })
  end)

  says("`AsyncResult.exists()`", "same", function()
    assert.equal("UNKNOWN", site.app:result("never-sent"):state())
    assert.not_equal("UNKNOWN", add:delay(1, 1):state())
  end)
end)
