local aim = require("bench.aim")
local core = require("taskengine.core")
local files = require("spec.support.files")
local process = require("bench.peers.process")
local processes = require("spec.support.processes")
local report = require("bench.peers.table")
local rows = require("bench.peers.rows")
local script = require("spec.support.script")
local trial = require("bench.peers.trial")
local wait = require("spec.support.wait")
local wordcount = require("bench.wordcount")
local workflows = require("bench.peers.workflows")

describe("bench.peers.table", function()
  local names = { "ours", "one", "two" }

  it("takes the middle one, or the mean of the middle two", function()
    assert.equals(2, report.median({ 3, 1, 2 }))
    assert.equals(2.5, report.median({ 4, 1, 2, 3 }))
  end)

  it("compares with the best median of the peers", function()
    local row = { of_best = 10, more = true }
    local samples = { ours = { 90, 110 }, one = { 1, 9, 99 }, two = { 10 } }
    assert.same({ ">= 10 x the best", "met: 10.00 x", true },
      { report.verdict(row, samples, names) })
    samples.ours = { 99 }
    assert.same({ ">= 10 x the best", "short: 9.90 x", false },
      { report.verdict(row, samples, names) })
  end)

  it("knows where less is better", function()
    local row = { of_best = 0.5 }
    local samples = { ours = { 5 }, one = { 20 }, two = { 10 } }
    assert.same({ "<= 0.5 x the best", "met: 0.50 x", true },
      { report.verdict(row, samples, names) })
    samples.ours = { 6 }
    assert.same({ "<= 0.5 x the best", "short: 0.60 x", false },
      { report.verdict(row, samples, names) })
    assert.same({ "<= 5", "short", false },
      { report.verdict({ aim = 5 }, samples, names) })
  end)

  it("says nothing of a comparison when no peer was there", function()
    assert.same({ "", "" }, { report.verdict({ of_best = 2, more = true },
      { ours = { 1 } }, { "ours" }) })
  end)

  it("names the sizes of the run", function()
    local text = report.markdown({
      sizes = { first = 10000, deep = 1234567 },
      systems = { { name = "ours", version = "1" } },
      samples = { many_us = { ours = { 8 } } },
    })
    assert.matches("first 10,000 of a queue of 1,234,567, us | 8.0 |", text, 1,
      true)
  end)

  it("shows medians, extremes, and a gap where a peer cannot", function()
    assert.equals(table.concat({
      "| measure | ours 1 | one 2 | to reach | verdict |",
      "| --- | --- | --- | --- | --- |",
      "| Redis memory a queued add(x, y), bytes | 1,234,567 (12 to 2,000,000)"
        .. " |  | <= 150 | short |",
    }, "\n"), (report.markdown({
      systems = {
        { name = "ours", version = "1" }, { name = "one", version = "2" },
      },
      samples = { queued_bytes = { ours = { 12, 2000000, 1234567 } } },
    })))
  end)

  it("lists the aims of the run, without those that need a peer", function()
    local systems = { { name = "ours", version = "1" } }
    local samples = {
      start_ms = { ours = { 50 } }, queued_bytes = { ours = { 151, 152, 150 } },
      chain_p50 = { ours = { 2 } }, primes_s = { ours = { 1 } },
      words_mb_s = { ours = { 90 } }, words_ratio = { ours = { 3 } },
    }
    local function judged()
      return select(2, report.markdown { systems = systems, samples = samples })
    end
    local words, queued, start = {
      title = "word count, two processes, MB/s by one core of awk",
      aim = ">= 3", found = "3.0", met = true,
    }, {
      title = "Redis memory a queued add(x, y), bytes", aim = "<= 150",
      found = "151 (150 to 152)", met = false,
    }, {
      title = "start to first task done, ms", aim = "<= 60", found = "50",
      met = true,
    }
    assert.same({ words, queued, start }, judged())
    systems[2] = { name = "one", version = "2" }
    samples.chain_p50.one = { 4 }
    assert.same({ {
      title = "chain of 3, idle worker, p50, ms", aim = "<= 0.25 x the best",
      found = "0.50 x", met = false,
    }, words, queued, start }, judged())
  end)
end)

describe("bench.aim", function()
  it("sums up what was missed", function()
    local fine = { title = "a", aim = "<= 1", found = "1", met = true }
    local short = { title = "b", aim = ">= 3", found = "2.5", met = false }
    assert.same({ "aims: 0, all met", true }, { aim.sum_up {} })
    assert.same({ "aims: 1, all met", true }, { aim.sum_up { fine } })
    assert.same({ "aims: 3, missed: 2\n  b: 2.5, and not >= 3"
      .. "\n  b: 2.5, and not >= 3", false },
      { aim.sum_up { short, fine, short } })
  end)
end)

describe("bench.peers.trial", function()
  it("waits until all processes have nothing to do", function()
    local folder <close> = script.folder {}
    local path = folder.dir .. "/go"
    local worker = process.start { "sh", "-c",
      "(while ! [ -e " .. path .. " ]; do :; done; exec sleep 1000) &"
        .. " exec sleep 1000" }
    local is_over = false
    core.loop.timer(500, function()
      is_over = true
      files.write(path, "")
    end)
    trial.wait_idle({ name = "one" }, { worker })
    assert.is_true(is_over)
    worker:stop()
  end)
end)

describe("bench.wordcount", function()
  it("takes another order and other columns for the same", function()
    local folder <close> = script.folder {
      ours = "      2 a\n     10 b c\n", theirs = "10 b c\n2 a\n",
    }
    wordcount.compare(folder.dir .. "/ours", folder.dir .. "/theirs")
  end)

  it("refuses another count, and another word", function()
    local folder <close> = script.folder {
      ours = "      2 a\n      1 b\n", count = "2 a\n2 b\n",
      word = "2 a\n1 c\n", fewer = "2 a\n",
    }
    for _, name in ipairs { "count", "word", "fewer" } do
      assert.error_matches(function()
        wordcount.compare(folder.dir .. "/ours", folder.dir .. "/" .. name)
      end, "not counted as awk does")
    end
  end)
end)

describe("bench.peers.workflows", function()
  it("leaves out who has none", function()
    local bench = setmetatable({}, { __index = function(_, name)
      error("it asks for " .. name)
    end })
    workflows.small(bench, { name = "one" })
  end)

  it("names in its rows what it notes", function()
    local known = {}
    for _, row in ipairs(rows) do
      assert.is_nil(known[row.key], row.key)
      known[row.key] = true
    end
    for _, file in ipairs { "measures", "workflows" } do
      local source <close> = assert(io.open("bench/peers/" .. file .. ".lua"))
      local text, found = source:read("a"), 0
      for key in text:gmatch('note%(system, "([%l_%d]+)"') do
        assert.is_true(known[key], key)
        found = found + 1
      end
      for key in text:gmatch('row = "([%l_%d]+)"') do
        assert.is_true(known[key], key)
        found = found + 1
      end
      assert.is_true(found > 5, file)
    end
  end)
end)

describe("bench.peers.process", function()
  local PAIR <const> = { "sh", "-c", "sleep 1000 & exec sleep 1000" }

  -- Starts a program that starts one itself; returns both and their pids.
  local function start_pair()
    local pair = process.start(PAIR)
    local pids
    wait.wait_until(function()
      pids = pair:family()
      return #pids == 2
    end)
    return pair, pids
  end

  local function wait_gone(pids)
    wait.wait_until(function()
      return not processes.is_alive(pids[1])
        and not processes.is_alive(pids[2])
    end)
  end

  it("ends what a process has started with it", function()
    local pair, pids = start_pair()
    pair:stop()
    wait_gone(pids)
  end)

  it("leaves none when the work fails", function()
    local pids
    local code, why = process.guard(function()
      pids = select(2, start_pair())
      error("it fails")
    end)
    assert.equals(1, code)
    assert.matches("it fails", why)
    wait_gone(pids)
  end)

  it("leaves none when it is interrupted", function()
    local pids
    local code = process.guard(function()
      local pair
      pair, pids = start_pair()
      os.execute("kill -TERM $PPID")
      require("bench.setup").wait(function()
        return pair.code
      end, "a signal")
    end)
    assert.equals(143, code)
    wait_gone(pids)
  end)

  it("hands over what a program prints, and its failure", function()
    assert.equals("yes\n", process.run({ "echo", "yes" }))
    local fine, why = pcall(process.run, { "sh", "-c", "exit 3" })
    assert.is_false(fine)
    assert.matches("sh %-c exit 3 ended with 3", why)
  end)
end)
