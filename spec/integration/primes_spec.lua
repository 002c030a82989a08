local files = require("spec.support.files")
local native = require("native.primes")
local program = require("spec.support.program")
local redis_server = require("spec.support.redis_server")

local RECIPE <const> = "recipes/primes.lua"
local FIRST <const> = "2, 3, 5, 7, 11, 13, 17, 19, 23, 29"

describe("recipes/primes.lua", function()
  local server, folder

  setup(function()
    server = redis_server.start()
    folder = server.dir
  end)

  teardown(function()
    server:stop()
  end)

  -- What a command writes to stdout and to stderr, and its exit code.
  local function execute(command)
    local _, how, code = os.execute(
      ("exec >%s/out 2>%s/err; timeout -k 5 100 %s"):format(folder, folder,
        command))
    assert.equal("exit", how)
    return files.read(folder .. "/out"), files.read(folder .. "/err"), code
  end

  local function run(args, options)
    return execute(("%s run -q -b '%s' -P 2 %s %s %s"):format(program.PATH,
      server.url, options or "", RECIPE, args))
  end

  it("counts the primes up to N", function()
    for _, case in ipairs {
      { "0", "0 primes up to 0" },
      { "1", "0 primes up to 1" },
      { "2", "1 prime up to 2", "2", 2 },
      { "3", "2 primes up to 3", "2, 3", 3 },
      { "28", "9 primes up to 28", "2, 3, 5, 7, 11, 13, 17, 19, 23", 23 },
      { "29", "10 primes up to 29", FIRST, 29 },
      { "100", "25 primes up to 100", FIRST, 97 },
      { "1000000", "78498 primes up to 1000000", FIRST, 999983 },
      { "1e7", "664579 primes up to 10000000", FIRST, 9999991 },
      { "10^7", "664579 primes up to 10000000", FIRST, 9999991 },
      -- After the longest gap below 10^9.
      { "436273290", "23163298 primes up to 436273290", FIRST, 436273009 },
    } do
      local out, err, code = run(case[1])
      local found, rest = out:match("^Found ([^\n]*)\n(.*)$")
      assert.equal(case[2], found)
      local first, last, took = rest:match("^First: (.-)\nLast: (%d+)\n(.*)$")
      assert.equal(case[3], first)
      assert.equal(case[4], math.tointeger(last))
      assert.matches("^Took %d+%.%d%d s; worker processes: [012]\n$",
        took or rest)
      assert.same({ "", 0 }, { err, code })
    end
  end)

  it("counts to 10^10, with all processes", function()
    local out, err, code = run("10^10")
    assert.same({ "", 0 }, { err, code })
    assert.matches("^Found 455052511 primes up to 10000000000\nFirst: " .. FIRST
      .. "\nLast: 9999999967\nTook [%d.]+ s; worker processes: 2\n$", out)
    out = run("10^9", "-P 1")
    assert.matches("^Found 50847534 primes.* processes: 1\n$", out)
  end)

  it("finds as much in parts of any size, and by trial division", function()
    for _, args in ipairs {
      "10000", "10000 --chunk 10000", "--chunk 9998 10000",
      "10000 --chunk 9999", "--chunk 3 10000", "10000 --chunk 1e15",
      "--pure 10000", "10000 --chunk 77 --pure",
    } do
      local out, err, code = run(args)
      assert.same({ "", 0 }, { err, code })
      assert.matches("^Found 1229 primes up to 10000\nFirst: " .. FIRST
        .. "\nLast: 9973\n", out)
    end
  end)

  it("lists the primes in order, one a line, and nothing else", function()
    local primes = native.unpack(native.pack(0, 20000), 0)
    local lines = table.concat(primes, "\n") .. "\n"
    for _, args in ipairs {
      "20000 --list", "--list 20000 --chunk 20000", "20000 --list --chunk 11",
      "20000 --list --chunk 1e15", "20000 --list --pure",
    } do
      local out, err, code = run(args)
      assert.equal(lines, out)
      assert.matches("^Found 2262 primes up to 20000\nFirst: " .. FIRST
        .. "\nLast: 19997\nTook", err)
      assert.equal(0, code)
    end
    local out, err = run("1 --list")
    assert.equal("", out)
    assert.matches("^Found 0 primes up to 1\nTook", err)
  end)

  it("keeps little in Redis, and no result at the end", function()
    server:cli("FLUSHALL")
    server:cli("CONFIG", "RESETSTAT")
    local function used(what)
      return tonumber(server:cli("INFO", "memory"):match(what .. ":(%d+)"))
    end
    local before = used("used_memory")
    local _, err = run("200000000 --list --chunk 1e6") -- 11 MB of lists
    assert.matches("^Found 11078937 primes", err)
    local most = used("used_memory_peak") - before
    assert.is_true(most < 6000000, ("%d bytes"):format(most))
    run("1000000 --chunk 1000")
    local kept = 0
    for key in server:cli("KEYS", "te:*:v:*"):gmatch("%S+") do
      for value in server:cli("HVALS", key):gmatch("%S+") do
        assert.equal("-", value) -- a result was there
        kept = kept + 1
      end
    end
    assert.equal(1200, kept)
  end)

  it("says what is wrong with its arguments", function()
    local expected = "an integer from 0 to 10^15 expected, got "
    for args, problem in pairs {
      [""] = "N is missing",
      ["--list"] = "N is missing",
      ["-5"] = "N: " .. expected .. "'-5'",
      ["2.5"] = "N: " .. expected .. "'2.5'",
      ["many"] = "N: " .. expected .. "'many'",
      ["''"] = "N: " .. expected .. "''",
      ["nan"] = "N: " .. expected .. "'nan'",
      ["2e15"] = "N: " .. expected .. "'2e15'",
      ["10^99"] = "N: " .. expected .. "'10^99'",
      ["99999999999999999999"] = "N: " .. expected .. "'99999999999999999999'",
      ["100 200"] = "unknown argument '200'",
      ["100 --lst"] = "unknown argument '--lst'",
      ["100 --chunk"] = "--chunk: " .. expected:gsub("0", "1", 1) .. "''",
      ["100 --chunk 0"] = "--chunk: " .. expected:gsub("0", "1", 1) .. "'0'",
    } do
      local out, err, code = run(args)
      assert.equal("primes: " .. problem .. "\nusage: taskengine run"
        .. " recipes/primes.lua N [--chunk C] [--list] [--pure]\n", err)
      assert.same({ "", 2 }, { out, code })
    end
  end)

  it("says so when its list cannot be written", function()
    local _, err, code = run("100 --list >/dev/full")
    assert.equal(1, code)
    assert.equal("primes: stdout: No space left on device\n", err)
  end)

  it("runs in plain Lua, with a worker elsewhere", function()
    local cwd = assert(io.popen("pwd")):read("l")
    local place <close> = program.place { broker = server.url }
    place:worker { cwd .. "/" .. RECIPE }
    local out, err, code = execute(("env TASKENGINE_BROKER='%s' lua5.4 %s 100")
      :format(server.url, RECIPE))
    assert.same({ "", 0 }, { err, code })
    assert.matches("^Found 25 primes up to 100\n", out)
  end)
end)
