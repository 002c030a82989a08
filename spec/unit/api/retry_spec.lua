local retry = require("taskengine.retry")

describe("taskengine.retry", function()
  local policy = retry.policy

  it("allows three retries, 180 s apart, unless told otherwise", function()
    local p = policy {}
    assert.same({ true, true, false },
      { retry.has_left(p, 0), retry.has_left(p, 2), retry.has_left(p, 3) })
    assert.equal(180, retry.delay(p, 2, 0))
    assert.is_false(retry.is_for(p, { kind = "Error" }))
  end)

  it("allows as many as the task says, and for ever", function()
    assert.is_false(retry.has_left(policy { max_retries = 0 }, 0))
    assert.is_true(retry.has_left(policy { max_retries = 254 }, 253))
    for _, forever in ipairs { false, math.huge } do
      -- The counter goes no further than 255.
      assert.is_true(retry.has_left(policy { max_retries = forever }, 255))
    end
  end)

  describe("with a backoff", function()
    local function pauses(options, chance)
      local p, list = policy(options), {}
      for retries = 0, 4 do
        list[#list + 1] = retry.delay(p, retries, chance)
      end
      return list
    end

    it("doubles the pause each time, up to the longest", function()
      assert.same({ 1, 2, 4, 8, 16 },
        pauses({ retry_backoff = true, retry_jitter = false }, 0.3))
      assert.same({ 0.5, 1, 2, 3, 3 }, pauses({ retry_backoff = 0.5,
        retry_backoff_max = 3, retry_jitter = false }, 0.3))
      assert.equal(600, retry.delay(policy { retry_backoff = true,
        retry_jitter = false }, 255, 0.3))
    end)

    it("draws a pause from none to the whole", function()
      assert.same({ 0, 0, 0, 0, 0 }, pauses({ retry_backoff = true }, 0))
      assert.same({ 0.5, 1, 2, 4, 8 }, pauses({ retry_backoff = true }, 0.5))
    end)

    it("draws nothing where the pause is always the same", function()
      assert.equal(7, retry.delay(policy { retry_delay = 7 }, 3, 0.5))
    end)
  end)

  describe("asks by itself for", function()
    local function is_for(retry_for, kind)
      return retry.is_for(policy { autoretry_for = retry_for },
        { kind = kind, value = 7 })
    end

    it("any error, but for those that end it", function()
      assert.is_true(is_for(true, "Error"))
      assert.is_true(is_for(true, "SoftTimeLimitExceeded"))
      assert.is_false(is_for(true, "Revoked"))
      assert.is_false(is_for(true, "MaxRetriesExceeded"))
    end)

    it("errors of some kinds", function()
      assert.is_true(is_for({ "NoStock", "Revoked" }, "Revoked"))
      assert.is_false(is_for({ "NoStock" }, "Error"))
    end)

    it("those that a function wants", function()
      local seen
      assert.is_true(is_for(function(e)
        seen = e
        return 1
      end, "NoStock"))
      assert.same({ kind = "NoStock", value = 7 }, seen)
      assert.is_false(is_for(function() end, "NoStock"))
    end)
  end)

  it("asks no function about what nobody is left to ask", function()
    local kind <const> = "TimeLimitExceeded"
    local function is_for_kind(retry_for)
      return retry.is_for_kind(policy { autoretry_for = retry_for }, kind)
    end
    assert.is_true(is_for_kind(true))
    assert.is_true(is_for_kind { kind })
    assert.is_false(is_for_kind { "Error" })
    assert.is_false(is_for_kind(error))
  end)

  describe("of a call", function()
    local TASK <const> = { max_retries = 9, retry_delay = 8,
      autoretry_for = { "NoStock" } }

    it("allows none when it is false", function()
      local p = policy(TASK, false)
      assert.is_false(retry.has_left(p, 0))
      assert.is_false(retry.is_for(p, { kind = "NoStock" }))
    end)

    it("has the task's where it says nothing", function()
      local p = policy(TASK, { max_retries = 1, autoretry_for = false })
      assert.same({ 8, true, false, false }, { retry.delay(p, 0, 1),
        retry.has_left(p, 0), retry.has_left(p, 1),
        retry.is_for(p, { kind = "NoStock" }) })
    end)

    it("has it too where it says what cannot be", function()
      for _, override in ipairs { 7, "x", true,
        { max_retries = "x", retry_delay = -1, autoretry_for = { 1 } } } do
        local p = policy(TASK, override)
        assert.same({ 8, false, true, true }, { retry.delay(p, 0, 1),
          retry.has_left(p, 9), retry.has_left(p, 8),
          retry.is_for(p, { kind = "NoStock" }) })
      end
    end)
  end)
end)
