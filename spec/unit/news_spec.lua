local core = require("taskengine.core")
local envelope = require("spec.support.envelope")

local news, testing = core.testing.news, core.testing

local HAS_PAST <const> = 16

describe("news", function()
  local n, count, now

  before_each(function()
    n, count, now = news.new(), 0, 1000000
  end)

  local function field(i)
    return envelope.field(envelope.id("AbcdefGHI012", i), 1)
  end

  local function task()
    count = count + 1
    return n:task(envelope.new { id = envelope.id("AbcdefGHI012", count) })
  end

  -- The arguments; that they are as many as announced is checked each time.
  local function write()
    local announced, args = n:write(now)
    assert.equal(announced, #args)
    return args
  end

  local function let_pass(ms)
    now = now + ms
  end

  it("are none of nothing", function()
    assert.is_nil(n:wait(now))
    assert.same({}, write())
  end)

  it("go out at once after a silence, together and in order", function()
    local a, b = task(), task()
    n:say(b, "one")
    n:say(a, "two")
    assert.equal(0, n:wait(now))
    assert.same({ "p", field(2), "one", "p", field(1), "two" }, write())
    n:confirm()
    assert.is_nil(n:wait(now))
  end)

  it("are the last word of each task", function()
    local a, b = task(), task()
    n:say(a, "first")
    n:say(b, "other")
    for i = 1, 1000 do
      n:say(a, "word " .. i)
    end
    assert.same({ "p", field(1), "word 1000", "p", field(2), "other" },
      write())
  end)

  it("go out again only after a while", function()
    local a = task()
    n:say(a, "one")
    write()
    n:confirm()
    n:say(a, "two")
    assert.equal(news.PAUSE_MS, n:wait(now))
    let_pass(news.PAUSE_MS - 1)
    assert.equal(1, n:wait(now))
    assert.same({}, write())
    let_pass(1)
    assert.equal(0, n:wait(now))
    assert.same({ "p", field(1), "two" }, write())
  end)

  it("are told again when nobody knows whether they were heard", function()
    local a, b = task(), task()
    n:say(a, "one")
    n:say(b, "two")
    write()
    n:lose()
    let_pass(news.PAUSE_MS)
    assert.same({ "p", field(1), "one", "p", field(2), "two" }, write())
    n:confirm()
    n:lose()
    assert.is_nil(n:wait(now))
  end)

  it("of a task that has said more meanwhile, only that is told", function()
    local a, b = task(), task()
    n:say(a, "one")
    n:say(b, "two")
    write()
    n:say(a, "three")
    n:lose()
    let_pass(news.PAUSE_MS)
    assert.same({ "p", field(2), "two", "p", field(1), "three" }, write())
  end)

  it("said while others are on their way are not confirmed with them",
    function()
      local a = task()
      n:say(a, "one")
      write()
      n:say(a, "two")
      n:confirm()
      let_pass(news.PAUSE_MS)
      assert.same({ "p", field(1), "two" }, write())
    end)

  it("of a task that has ended are none", function()
    local a, b = task(), task()
    n:say(a, "one")
    n:hush(a)
    assert.is_nil(n:wait(now))
    n:say(b, "two")
    write()
    n:hush(b)
    n:lose()
    assert.is_nil(n:wait(now))
  end)

  it("make the task one of which something is noted", function()
    local a, b = task(), task()
    n:say(a, "one")
    assert.equal(0, n:flags(a))
    write()
    assert.same({ HAS_PAST, 0 }, { n:flags(a), n:flags(b) })
  end)

  it("of very many tasks go in lots", function()
    for _ = 1, news.TASKS_MAX + 5 do
      n:say(task(), "x")
    end
    assert.equal(3 * news.TASKS_MAX, #write())
    n:confirm()
    assert.equal(news.PAUSE_MS, n:wait(now))
    let_pass(news.PAUSE_MS)
    assert.equal(3 * 5, #write())
  end)

  it("of very many bytes go in lots", function()
    for _ = 1, 6 do
      n:say(task(), ("x"):rep(news.BYTES_MAX // 4))
    end
    assert.equal(3 * 4, #write())
    n:confirm()
    let_pass(news.PAUSE_MS)
    assert.equal(3 * 2, #write())
  end)

  it("are nobody's when the lease is lost", function()
    local a, b = task(), task()
    n:say(a, "one")
    write()
    n:say(b, "two")
    n:drop()
    assert.is_nil(n:wait(now))
    n:lose()
    assert.is_nil(n:wait(now))
    n:say(a, "three") -- of a task that is new for all that is known
    let_pass(news.PAUSE_MS)
    assert.same({ "p", field(1), "three" }, write())
  end)

  it("take no memory but that of the last words", function()
    local a = task()
    n:say(a, "x")
    local live = testing.alloc_live()
    for _ = 1, 100 do
      n:say(a, ("y"):rep(1000))
    end
    assert.equal(live, testing.alloc_live())
    write()
    n:confirm()
    assert.equal(live - 1, testing.alloc_live())
  end)
end)
