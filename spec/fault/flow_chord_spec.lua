--- Large groups and chords on real workers: as they are, with processes that
-- die, with members that fail, nested, empty.

local chaos = require("spec.support.chaos")
local core = require("taskengine.core")
local envelope = require("spec.support.envelope")
local files = require("spec.support.files")
local flow_watch = require("spec.support.flow_watch")
local te = require("taskengine")
local wait_until = require("spec.support.wait").wait_until
local workers = require("spec.support.workers")

local MEMBERS <const> = chaos.size(2000, 100000)
local EACH <const> = chaos.size(100, 1000) -- of them, in one hand
local CHORDS <const>, CHORD_MEMBERS <const> = chaos.size(20, 1000), 100
local MEMBER_S <const> = chaos.size(0.01, 0.001)
local LIMIT <const> = { timeout = chaos.size(120, 1800) }

describe("A large chord", function()
  -- `count` members that note and return their numbers, and a callback that
  -- counts those whose result is in its place.
  local function chord_of(run, count, seconds)
    local path, list = run.ledger.path, {}
    for i = 1, count do
      list[i] = run.site.app:signature("wait", { i, path, seconds })
    end
    return te.chord(list, run.site.app:signature("count_in_place",
      { path .. "-callbacks" }))
  end

  -- How often callbacks have begun.
  local function callbacks(run)
    local text = files.read(run.ledger.path .. "-callbacks") or ""
    return select(2, text:gsub("\n", ""))
  end

  -- Each node was released once and has ended once.
  local function assert_counted(run, nodes)
    local site = run.site
    wait_until(function()
      return site:count("done") + site:count("failed") >= nodes
        and #flow_watch.open(site) == 0
    end, 60, "the end of the flows")
    assert.same({ nodes, nodes, 0 }, { site:count("enqueued"),
      site:count("done"), site:count("failed") })
  end

  it("calls back once, with all results in order", function()
    local run <close> = chaos.run {
      concurrency = 10, config = flow_watch.CONFIG,
    }
    run:start()
    run.sent = MEMBERS
    assert.equal(MEMBERS, chord_of(run, MEMBERS, 0)():get(LIMIT))
    assert_counted(run, MEMBERS + 1)
    local found = run:report("F19", 0, flow_watch.slowest(run.site))
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.equal(1, callbacks(run))
    assert.equal(0, run:stop().code)
  end)

  -- Workers that are given all members, and are thought dead at once: what
  -- each has, in its words. All members are there already.
  local function give_away(run)
    local hands, site, given = {}, run.site, 0
    while given < MEMBERS do
      local wid, fields, number = ("dead%08d"):format(#hands + 1), {}, 0
      site:fcall("register", wid, 600000, "", "default")
      while #fields < math.min(EACH, MEMBERS - given) do
        number = number + 1
        local reply = site:fcall("fetch", wid, 1, EACH - #fields, number, 0,
          "default")
        for i = 3, #reply do
          fields[#fields + 1] = envelope.field(reply[i], number)
        end
      end
      hands[#hands + 1], given = { wid = wid, fields = fields }, given + #fields
    end
    return hands
  end

  -- They come back, and each says of what it had that it has ended. Nothing of
  -- it is its own any more.
  local function come_back(run, hands)
    local site, wrong = run.site, "S" .. core.codec.encode(0)
    for _, hand in ipairs(hands) do
      wait_until(function()
        return site:key("EXISTS", "f:" .. hand.wid) == 0
      end, LIMIT.timeout, "another that takes what a dead one had")
      local told = {}
      for _, field in ipairs(hand.fields) do
        table.move({ "o", field, wrong }, 1, 3, #told + 1, told)
      end
      site:fcall("register", hand.wid, 600000, "", "default")
      assert.same({ 0 }, site:fcall("finish", hand.wid, 600000,
        table.unpack(told)))
      site:fcall("leave", hand.wid)
    end
  end

  it("does so when each member is delivered twice, and ends twice", function()
    local run <close> = chaos.run { concurrency = 10 }
    run.sent = MEMBERS
    local r = chord_of(run, MEMBERS, 0)()
    local hands = give_away(run)
    run:start()
    come_back(run, hands)
    assert.equal(MEMBERS, r:get(LIMIT))
    assert_counted(run, MEMBERS + 1)
    local found = run:report("F19, twice", 0)
    assert.same({ 0, 0, 0 }, { found.lost, found.twice, found.unexpected })
    assert.equal(MEMBERS, run.site:count("lost"))
    assert.equal(1, callbacks(run))
    assert.equal(0, run:stop().code)
  end)

  it("does so when processes and workers die", function()
    local run <close> = chaos.run {
      concurrency = 2, config = flow_watch.CONFIG,
    }
    local site = run.site
    run:start()
    run.sent = MEMBERS
    local r, bound = chord_of(run, MEMBERS, MEMBER_S)(), 0
    local function count_ended()
      return site:count("done")
    end
    local function is_over()
      return count_ended() >= MEMBERS
    end
    while not is_over() do
      chaos.pause(0.05, 0.15)
      bound = bound + flow_watch.kill_one(run, count_ended, 10, is_over)
    end
    assert.equal(MEMBERS, r:get(LIMIT))
    assert_counted(run, MEMBERS + 1)
    local found = run:report("F19, kills", bound, flow_watch.slowest(site))
    assert.is_true(run.kills >= 5)
    assert.same({ 0, 0 }, { found.lost, found.unexpected })
    assert.is_true(found.twice <= bound)
    -- It may have been running when the last one was killed.
    assert.is_true(callbacks(run) <= 2)
    assert.equal(0, run:stop().code)
  end)

  it("is one of many that all call back, with processes that die", function()
    local run <close> = chaos.run { concurrency = 5 }
    run:start()
    local all, site = {}, run.site
    local nodes = CHORDS * (CHORD_MEMBERS + 1)
    for i = 1, CHORDS do
      all[i] = chord_of(run, CHORD_MEMBERS, MEMBER_S)()
    end
    local function count_ended()
      return site:count("done")
    end
    while count_ended() < nodes // 2 do
      flow_watch.kill_one(run, count_ended, 100, function()
        return count_ended() >= nodes
      end)
    end
    for _, r in ipairs(all) do
      assert.equal(CHORD_MEMBERS, r:get(LIMIT))
    end
    assert_counted(run, nodes)
    assert.is_true(run.kills > 0)
    assert.equal(0, run:stop().code)
  end)
end)

describe("With real workers", function()
  local site = workers.for_each_spec { config = flow_watch.CONFIG }
  local worker

  before_each(function()
    worker = site:worker({ "-P", "2", "-c", "10" }, { file = "canvas" })
  end)

  local function s(name, ...)
    return site.app:signature(name, table.pack(...))
  end

  it("a group has all results in order", function()
    local list = {}
    for i = 1, MEMBERS do
      list[i] = s("add", i, 0)
    end
    local values = te.group(list)():get(LIMIT)
    assert.equal(MEMBERS, values.n)
    for i = 1, MEMBERS do
      assert.equal(i, values[i])
    end
    io.write(("[F19, group %s]"):format(flow_watch.slowest(site)))
  end)

  it("one failing member of many fails the chord, once", function()
    local errors, notes = site.dir .. "/errors", site.dir .. "/notes"
    local list = {}
    for i = 1, MEMBERS do
      list[i] = i == MEMBERS // 2 and s("fail", "no luck") or s("add", i, 0)
    end
    local r = te.chord(list, s("note", notes))
      :on_error(s("note_error", errors))()
    local ok, e = r:wait(LIMIT.timeout)
    assert.same({ false, "DependencyFailed", "Broken", "no luck" },
      { ok, e.kind, e.cause.kind, e.cause.message })
    wait_until(function()
      return r.flow:info().left == 0
    end, LIMIT.timeout, "the end of the flow")
    assert.equal("Broken: no luck\n", files.read(errors))
    assert.is_nil(files.read(notes))
    -- All members and the errback have run, and nothing else.
    assert.same({ MEMBERS + 1, MEMBERS, 1 }, { site:count("enqueued"),
      site:count("done"), site:count("failed") })
  end)

  it("chords may be nested, 100 deep", function()
    local one = s("add", 1, 0)
    for _ = 1, 100 do
      one = te.chord({ one, s("add", 1, 0) }, s("sum"))
    end
    assert.equal(101, one():get(LIMIT))
    assert.same({ 201, 201 }, { site:count("enqueued"), site:count("done") })
  end)

  it("an empty chord calls back with nothing", function()
    assert.equal(0, te.chord({}, s("sum"))():get(LIMIT))
    assert.equal(1, site:count("done"))
    assert.equal(0, site:stop(worker).code)
  end)
end)
