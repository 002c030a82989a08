local shard = require("spec.support.shard")

local A <const>, B <const>, C <const> =
  "workerAAAAAA", "workerBBBBBB", "workerCCCCCC"

describe("te1_fetch", function()
  local s, p

  before_each(function()
    s, p = shard.serving(A)
  end)

  describe("makes the worker a sleeper", function()
    it("of all its queues when it got less than it wanted", function()
      p:plain(1)
      s:fetch(A, 2, { queues = { "default", "mail" } })
      assert.is_true(s:is_asleep(A, "default"))
      assert.is_true(s:is_asleep(A, "mail"))
    end)

    it("no more when it got all that it wanted", function()
      s:fetch(A, 1, { queues = { "default", "mail" } })
      p:plain(1)
      s:fetch(A, 1, { slept = true, queues = { "default", "mail" } })
      assert.is_false(s:is_asleep(A, "default"))
      assert.is_false(s:is_asleep(A, "mail"))
    end)

    it("but wakes it when there is more to look through", function()
      for _ = 1, 2100 do
        p:add({}, { expires = 1 })
      end
      local good = p:plain(1)[1]
      s:advance(1)
      local fetches = 0
      local found
      repeat
        found = s:fetch_ids(A, 10)
        fetches = fetches + 1
      until #s:heard("b:" .. A) == 0
      assert.same({ good }, found)
      assert.equal(3, fetches)
      assert.equal(2100, s:counter("default", "expired"))
    end)
  end)

  describe("passes the bell on", function()
    before_each(function()
      s:register(B)
      s:register(C)
    end)

    it("when the worker that was woken took other work", function()
      local both = { queues = { "mail", "default" }, slept = true }
      for _, wid in ipairs { A, B, C } do
        s:fetch(wid, 1, both)
      end
      p:plain(1)
      local woken, asleep = {}, nil
      for _, wid in ipairs { A, B, C } do
        if s:heard("b:" .. wid)[1] then
          woken[#woken + 1] = wid
        else
          asleep = wid
        end
      end
      assert.equal(2, #woken)
      s:redis("RPUSH", "r:mail", p:pack { queue = "mail" })
      s:fetch(woken[1], 1, both)
      assert.same({ "" }, s:heard("b:" .. asleep))
    end)

    it("when the worker that was woken has no room", function()
      s:fetch(A, 1)
      p:plain(1)
      assert.same({ "" }, s:heard("b:" .. A))
      s:fetch(B, 1, { queues = { "mail" } })
      s:redis("SADD", "sl:default", B)
      assert.same({}, s:fetch_ids(A, 0, { slept = true }))
      assert.is_false(s:is_asleep(A))
      assert.same({ "" }, s:heard("b:" .. B))
    end)

    it("but not when nothing is left", function()
      s:fetch(A, 1)
      s:fetch(B, 1)
      s:fetch(C, 1)
      p:plain(1)
      for _, wid in ipairs { A, B, C } do
        s:heard("b:" .. wid)
      end
      s:redis("SADD", "sl:default", B, C)
      s:fetch(A, 1, { slept = true })
      assert.same({}, s:heard("b:" .. B))
      assert.same({}, s:heard("b:" .. C))
    end)

    it("for what became due and is left", function()
      for _ = 1, 3 do
        p:add({}, { delay = "+10" })
      end
      s:fetch(B, 1)
      s:heard("b:" .. B)
      s:advance(10)
      s:fetch(A, 2)
      assert.same({ "" }, s:heard("b:" .. B))
    end)

    it("for what became due in queues of others", function()
      s:fetch(B, 1, { queues = { "mail" } })
      p:add({ queue = "mail" }, { delay = "+10" })
      s:heard("b:" .. B)
      s:redis("SADD", "sl:mail", B)
      s:advance(10)
      s:fetch(A, 2)
      assert.same({ "" }, s:heard("b:" .. B))
    end)

    it("but not for what became due and was taken", function()
      s:fetch(B, 1)
      p:add({}, { delay = "+10" })
      s:heard("b:" .. B)
      s:redis("SADD", "sl:default", B)
      s:advance(10)
      s:fetch(A, 2)
      assert.same({}, s:heard("b:" .. B))
    end)
  end)
end)
