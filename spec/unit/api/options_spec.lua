local check = require("taskengine.check")
local misuse = require("spec.support.misuse")
local options = require("taskengine.options")

describe("taskengine.options", function()
  local function call_problem(given)
    return misuse(options.check, "apply_async", options.CALL, given)
  end

  it("takes what is right, and nothing", function()
    assert.same({}, options.check("x", options.CALL, nil))
    local given = {
      countdown = 0, expires = 0.5, headers = {}, ignore_result = false,
      priority = 9, queue = "a_b.c:d-e", task_id = "my-id", time_limit = 3,
      soft_time_limit = 0.5, memory_limit = "64M", retry = false,
    }
    assert.equal(given, options.check("x", options.CALL, given))
    assert.truthy(options.check("x", options.CALL,
      { eta = "2026-01-01T00:00Z" }))
    assert.truthy(options.check("x", options.CALL, { priority = 3.0 }))
  end)

  it("says what is wrong with a value", function()
    for shown, given in pairs {
      ['priority: an integer from 0 to 9 expected, got "high"'] = {
        priority = "high",
      },
      ["priority: an integer from 0 to 9 expected, got 10"] = { priority = 10 },
      ["priority: an integer from 0 to 9 expected, got 1.5"] = {
        priority = 1.5,
      },
      ["countdown: seconds from 0 to 3162240000 expected, got -1"] = {
        countdown = -1,
      },
      ['countdown: seconds from 0 to 3162240000 expected, got "soon"'] = {
        countdown = "soon",
      },
      ["expires: seconds from 0.001 to 3162240000 expected, got 0"] = {
        expires = 0,
      },
      ["time_limit: seconds from 0.001 to 4294967 expected, got a table"] = {
        time_limit = {},
      },
      ["headers: a table expected, got true"] = { headers = true },
      ["ignore_result: true or false expected, got 1"] = { ignore_result = 1 },
      ["eta: seconds since 1970 or an ISO 8601 time with its zone expected,"
        .. ' got "noon"'] = { eta = "noon" },
      ["queue: a name (1 to 128 of the characters A-Z a-z 0-9 _ . : -)"
        .. ' expected, got "a\\nb"'] = { queue = "a\nb" },
      ["task_id: a name (1 to 128 of the characters A-Z a-z 0-9 _ . : -)"
        .. ' expected, got ""'] = { task_id = "" },
    } do
      assert.equal("apply_async: " .. shown, call_problem(given))
    end
  end)

  it("says what is wrong inside of a table of options", function()
    for shown, given in pairs {
      ["unique: true, false or a table expected, got 1"] = 1,
      ["unique: unknown option 'kee' (did you mean 'key'?)"] = { kee = 1 },
      ["unique: key: a function or a string expected, got 7"] = { key = 7 },
      ["unique: for_s: seconds from 0.001 to 3162240000 expected, got 0"] =
        { for_s = 0 },
      ['unique: release: one of started, finished expected, got "never"'] =
        { release = "never" },
      ["unique: until: one of started, finished expected, got true"] =
        { ["until"] = true },
    } do
      assert.equal("apply_async: " .. shown, call_problem { unique = given })
    end
    for _, right in ipairs { true, false, {}, { key = "k", for_s = 0.5,
      release = "started" }, { key = print, ["until"] = "finished" } } do
      assert.truthy(options.check("x", options.TASK, { unique = right }))
    end
  end)

  it("suggests the nearest name for an unknown one", function()
    assert.equal("apply_async: unknown option 'prioritty' (did you mean"
      .. " 'priority'?)", call_problem { prioritty = 1 })
    assert.equal("apply_async: unknown option 'colour'",
      call_problem { colour = 1 })
    assert.equal("apply_async: options have names, got [1]",
      call_problem { "x" })
  end)

  it("says what is not built yet", function()
    assert.equal("task 'x': the option 'rate_limit' is not built yet",
      misuse(options.check, "task 'x'", options.TASK, { rate_limit = 3 }))
  end)

  it("takes tables only", function()
    assert.equal('apply_async: options: a table expected, got "x"',
      call_problem("x"))
    assert.equal("send: arguments: a table expected, got 4",
      misuse(options.call, "send", 4, nil))
  end)

  it("takes countdown or eta", function()
    assert.equal("send: countdown and eta say the same, one will do",
      misuse(options.call, "send", {}, { countdown = 1, eta = 1 }))
  end)

  it("takes expires or deadline", function()
    assert.equal("send: expires is until when it may begin, deadline until when"
      .. " it has to end: one of them",
      misuse(options.call, "send", {}, { expires = 1, deadline = 1 }))
  end)

  it("lets those of one table go before those of another", function()
    local given, own = { expires = 5, queue = "a" }, { deadline = 9 }
    assert.same({ deadline = 9, queue = "a" }, options.merge(given, own))
    assert.same({ { expires = 5, queue = "a" }, { deadline = 9 } },
      { given, own })
    assert.equal(given, options.merge(given, nil))
    assert.equal(own, options.merge(nil, own))
    assert.is_nil(options.merge(nil, nil))
  end)

  it("takes what a call may say of its retries", function()
    for _, given in ipairs {
      true, false, {}, { max_retries = false }, { max_retries = 254 },
      { max_retries = math.huge },
      { retry_delay = 0, retry_backoff = true, retry_backoff_max = 0.5,
        retry_jitter = false, autoretry_for = { "NoStock" } },
    } do
      assert.truthy(options.check("x", options.CALL, { retry = given }))
    end
  end)

  it("says what is wrong with what a call says of its retries", function()
    for given, shown in pairs {
      [1] = "true, false or a table of max_retries, .* expected, got 1",
      [{ max_retries = 255 }] = "max_retries: an integer .* got 255",
      [{ max_retries = -1 }] = "max_retries: an integer .* got %-1",
      [{ max_retries = 1.5 }] = "max_retries: an integer .* got 1.5",
      [{ retry_delay = -1 }] = "retry_delay: seconds from 0 .* got %-1",
      [{ retry_backoff = -1 }] = "retry_backoff: .* expected, got %-1",
      [{ countdown = 1 }] = "unknown option 'countdown'",
      [{ autoretry_for = print }] = "autoretry_for: .* got a function",
      [{ autoretry_for = {} }] = "autoretry_for: .* got a table",
      [{ "NoStock" }] = "options have names, got %[1%]",
    } do
      assert.matches("^x: retry: " .. shown,
        misuse(options.check, "x", options.CALL, { retry = given }))
    end
  end)

  it("says what is wrong with retries of a task", function()
    for shown, given in pairs {
      ["max_retries: an integer from 0 to 254, or false for ever expected, got"
        .. " 255"] = { max_retries = 255 },
      ["retry_delay: seconds from 0 to 3162240000 expected, got -1"] = {
        retry_delay = -1,
      },
      ["retry_backoff: true, false or the first pause in seconds, from 0.001"
        .. " on expected, got -2"] = { retry_backoff = -2 },
      ["retry_backoff_max: seconds from 0.001 to 3162240000 expected, got 0"]
        = { retry_backoff_max = 0 },
      ['retry_jitter: true or false expected, got "full"'] = {
        retry_jitter = "full",
      },
      ["autoretry_for: true, false, a list of kinds or a function expected, got"
        .. " a table"] = { autoretry_for = { "a", x = "b" } },
    } do
      assert.equal("task 'x': " .. shown,
        misuse(options.check, "task 'x'", options.TASK, given))
    end
  end)
end)

describe("taskengine.check", function()
  it("describes values on one short line", function()
    for shown, value in pairs {
      ['"a\\nb"'] = "a\nb",
      ['"' .. ("x"):rep(40) .. '..."'] = ("x"):rep(41),
      ['"\\27[31m"'] = "\27[31m",
      ["a function"] = print,
      ["12"] = 12,
      ["false"] = false,
    } do
      assert.equal(shown, check.describe(value))
    end
    assert.equal("nil", check.describe(nil))
  end)

  it("takes amounts of memory", function()
    local is_size = check.size(1 << 20, 1 << 30, "1M to 1G")
    for _, value in ipairs { "1M", "64m", "1.5MiB", "1024K", "1G", 1 << 20,
      "1048576" } do
      assert.is_true(is_size(value), value)
    end
    for _, value in ipairs { "1023K", "1.1G", "", "M", "x", "-2M", "2 M", -1,
      1e7, "0x100000", true, {} } do
      assert.is_false(is_size(value), tostring(value))
    end
    assert.equal('memory: an amount of memory such as 64M, from 1M to 1G'
      .. ' expected, got "lots"', check.problem("memory", is_size, "lots"))
  end)

  it("knows the words of a list", function()
    local is_level = check.one_of { "info", "warn" }
    assert.is_true(is_level("warn"))
    assert.is_false(is_level("x"))
    assert.is_false(is_level(nil))
    assert.equal("one of info, warn", check.wanted(is_level))
  end)

  it("takes names of 1 to 128 characters", function()
    assert.is_true(check.name(("n"):rep(128)))
    for _, value in ipairs { "", ("n"):rep(129), "a b", "é", "a\0", 7, {} } do
      assert.is_false(check.name(value))
    end
  end)
end)
