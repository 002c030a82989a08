local envelope = require("spec.support.envelope")
local shard = require("spec.support.shard")

local A <const>, B <const> = "workerAAAAAA", "workerBBBBBB"
local FIRST <const> = 1 << 31

describe("A task that is enqueued while workers sleep", function()
  local s, p

  before_each(function()
    s = shard.new()
    p = s:producer("p")
  end)

  local function sleep(wid, ...)
    s:register(wid, ...)
    s:fetch(wid, 9, { takes = true, queues = { ... } })
  end

  local function pack_number(number)
    return (">I4"):pack(number)
  end

  local function bell(wid)
    return s:bell(wid)
  end

  local function in_flight(wid)
    return s:in_flight(wid)
  end

  describe("alone", function()
    it("is in flight at one of them, and lies in his bell", function()
      sleep(A, "default")
      local id = p:plain(1)[1]
      assert.same({ id }, in_flight(A))
      assert.same({ 1, id }, bell(A))
      assert.same({}, s:ready("default"))
      assert.equal(1, s:counter("default", "enqueued"))
      local item = s:heard("b:" .. A)[1]
      assert.equal(item:sub(6),
        s:redis("HGET", "f:" .. A, id .. pack_number(FIRST + 1)))
    end)

    it("is ended like any other, and leaves him asleep", function()
      sleep(A, "default")
      for n = 1, 3 do
        local id = p:plain(1)[1]
        assert.same({ n, id }, bell(A))
        s:heard("b:" .. A)
        assert.equal(1, s:finish(A, "s", "default", "60", "1",
          id .. pack_number(FIRST + n), "S\x01"))
        assert.same({ "S\x01" }, s:call("outcome", id))
      end
    end)

    it("is handed over with options too", function()
      sleep(A, "default")
      local id = p:add({ alias = "mine" }, { unique = "umine" })
      assert.same({ 1, id }, bell(A))
      assert.equal(id, p:add({ alias = "mine" }, { unique = "umine" }))
      assert.same({ 1, id }, bell(A))
    end)

    it("wakes another sleeper, should the first have died", function()
      sleep(A, "default")
      sleep(B, "default")
      local id = p:plain(1)[1]
      local to, other = A, B
      if #in_flight(A) == 0 then
        to, other = B, A
      end
      assert.same({ 1, id }, bell(to))
      assert.same({ "" }, bell(other))
    end)
  end)

  describe("goes to its queue", function()
    local function goes_to_queue(parts)
      local id = p:plain(1, parts)[1]
      assert.same({}, in_flight(A))
      assert.same({ "" }, bell(A))
      return id
    end

    it("when it is one of several", function()
      sleep(A, "default")
      local ids = p:plain(2)
      assert.same(ids, s:ready("default"))
      assert.same({ "" }, bell(A))
    end)

    it("when nobody sleeps", function()
      s:register(A)
      p:plain(1)
      s:take(A, 1, { takes = true })
      local id = p:plain(1)[1]
      assert.same({ id }, s:ready("default"))
      assert.same({}, bell(A))
    end)

    it("when others are there before it", function()
      sleep(A, "default")
      local newer = p:plain(1, { version = 2 })[1]
      s:heard("b:" .. A)
      s:fetch(A, 9, { slept = true })
      assert.same({ newer, goes_to_queue() }, s:ready("default"))
    end)

    it("when urgent ones are there before it", function()
      sleep(A, "default")
      local newer = p:add { version = 2, priority = 3 }
      s:heard("b:" .. A)
      s:fetch(A, 9, { slept = true })
      assert.same({ newer, goes_to_queue() }, s:ready("default"))
    end)

    it("when a fetch has to look at it", function()
      for _, parts in ipairs { { version = 2 }, { queue = "other" },
        { body = ("x"):rep(16384) } } do
        s = shard.new()
        p = s:producer("p")
        sleep(A, "default")
        p:send(1, "r", "default", 1, p:pack(parts))
        assert.same({ "" }, bell(A))
        assert.same({}, in_flight(A))
      end
    end)

    it("when it may expire or has a priority", function()
      sleep(A, "default")
      p:add({}, { expires = "1000" })
      assert.same({ "" }, bell(A))
      s:heard("b:" .. A)
      s:fetch(A, 9, { slept = true })
      p:add({ priority = 1 })
      assert.same({ "" }, bell(A))
    end)

    it("when the bell was not read", function()
      sleep(A, "default")
      local first = p:plain(1)[1]
      local second = p:plain(1)[1]
      assert.same({ 1, first, "" }, bell(A))
      assert.same({ second }, s:ready("default"))
    end)

    it("when the worker did not say that it takes such", function()
      s:register(A)
      s:fetch(A, 9)
      assert.same({ goes_to_queue() }, s:ready("default"))
      assert.equal(0, s:redis("EXISTS", "hn"))
    end)
  end)

  describe("and lies unread", function()
    local id

    before_each(function()
      sleep(A, "default")
      id = p:plain(1)[1]
    end)

    -- The sleeper may be woken for it as well.
    local function is_taken_back()
      assert.same({}, in_flight(A))
      assert.falsy(table.concat(bell(A)):find(id, 1, true))
    end

    it("goes to another worker that was woken", function()
      s:register(B)
      is_taken_back() -- a new worker looks too
      assert.same({ id }, s:ready("default"))
      local fields = s:take(B, 9)
      assert.equal(id, fields[1]:sub(1, 20))
    end)

    it("is taken back when another fetches that was woken", function()
      s:register(B)
      s:fetch(B, 9, { takes = true })
      assert.same({ id }, in_flight(B))
      s:redis("RPUSH", "b:" .. A, "outcome of another")
      local fields = s:take(B, 9, { slept = true })
      assert.same({}, fields)
    end)

    it("is rung for when a worker that was awake falls asleep", function()
      s:redis("HSET", "wq", B, "default")
      s:redis("ZADD", "w", s:now() + 15000, B)
      assert.same({}, s:take(B, 9))
      is_taken_back()
      assert.same({ id }, s:ready("default"))
      assert.same({ "" }, bell(B))
    end)

    it("stays when one fetches that is awake and has its fill", function()
      s:redis("HSET", "wq", B, "default")
      s:redis("ZADD", "w", s:now() + 15000, B)
      local other = p:pack()
      s:redis("RPUSH", "r:default", other)
      assert.equal(1, #s:take(B, 1))
      assert.same({ 1, id }, bell(A))
    end)

    it("is taken back, and rung for, when its worker compares", function()
      s:redis("SADD", "sl:default", B)
      assert.same({ tostring(FIRST + 1) }, s:call("holds", A, 7))
      is_taken_back()
      assert.same({ id }, s:ready("default"))
      assert.same({ "", "" }, { bell(A)[1], bell(B)[1] })
    end)

    it("is taken back when its worker leaves", function()
      assert.equal(1, s:call("leave", A))
      is_taken_back()
      assert.same({ id }, s:ready("default"))
      assert.equal(0, s:redis("EXISTS", "hn"))
    end)

    it("counts no loss when its worker is reaped", function()
      s:advance(20000)
      assert.equal(1, s:call("reap", A, "0", "F", "-"))
      assert.same({ id }, s:ready("default"))
      assert.equal(0, s:counter("default", "lost"))
    end)

    it("goes back before others, and leaves what came after it", function()
      local second = p:plain(1)[1]
      s:redis("RPUSH", "b:" .. A, "outcome of another")
      s:call("holds", A)
      assert.same({ id, second }, s:ready("default"))
      assert.same({ "", "outcome of another" }, bell(A))
    end)

    it("is kept as malformed when it is damaged by then", function()
      local f = "f:" .. A
      s:redis("HSET", f, s:redis("HKEYS", f)[1], "x")
      s:register(B)
      is_taken_back()
      assert.same({}, s:ready("default"))
      assert.same({ "x" }, s:redis("LRANGE", "m", 0, -1))
      assert.equal("F", s:call("outcome", id)[1]:sub(1, 1))
    end)

    it("is forgotten when its envelope is not there any more", function()
      s:redis("DEL", "f:" .. A)
      s:call("holds", A)
      is_taken_back()
      assert.same({}, s:ready("default"))
    end)
  end)

  it("counts up for each worker, which its reports say", function()
    local function last_handed(wid)
      return s:call("heartbeat", wid, 15000, "default")[6]
    end
    s:register(A)
    assert.equal(0, last_handed(A))
    s:fetch(A, 9, { takes = true })
    assert.equal(FIRST, last_handed(A))
    p:plain(1)
    assert.equal(FIRST + 1, last_handed(A))
    sleep(B, "other")
    assert.equal(FIRST, last_handed(B))
    assert.equal(FIRST + 1, s:register(A)[6])
  end)

  it("goes to its queue when the numbers are used up", function()
    sleep(A, "default")
    s:redis("HSET", "hn", A, 2 * FIRST - 2)
    local last = p:plain(1)[1]
    assert.same({ last }, in_flight(A))
    s:heard("b:" .. A)
    for _ = 1, 2 do
      p:plain(1)
      assert.equal(tostring(2 * FIRST - 1), s:redis("HGET", "hn", A))
    end
    assert.same({ last }, in_flight(A))
    assert.equal(2, #s:ready("default"))
  end)

  it("is given to no queue that the sleeper does not serve", function()
    sleep(A, "other")
    local id = p:plain(1)[1]
    assert.same({ id }, s:ready("default"))
    assert.same({}, bell(A))
  end)

  it("is one that nobody hands over twice", function()
    sleep(A, "default")
    local bytes = p:pack()
    assert.same({ 0, 0 }, p:send(1, "r", "default", 1, bytes))
    assert.same({ 0, 1 }, p:send(1, "r", "default", 1, bytes))
    assert.same({ 1, bytes:sub(1, 20) }, bell(A))
    assert.equal(envelope.number(bytes:sub(1, 20)), 1)
  end)
end)
