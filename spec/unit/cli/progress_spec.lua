local progress = require("taskengine.cli.progress")

describe("taskengine.cli.progress", function()
  it("writes durations as people say them", function()
    for seconds, text in pairs {
      [0] = "0 s", [0.2] = "1 s", [59] = "59 s", [59.5] = "1:00",
      [185] = "3:05", [3600] = "1:00:00", [7209] = "2:00:09",
    } do
      assert.equal(text, progress.duration(seconds))
    end
  end)

  describe("the bar", function()
    it("has share, count, rate and time left", function()
      assert.equal(" 45% [#########           ] 450/1000  123/s  ETA 5 s",
        progress.bar(52, 450, 1000, 122.9))
      assert.equal("  0% [                    ] 0/10",
        progress.bar(32, 0, 10, nil))
      assert.equal("100% [####################] 10/10  2.0/s  ETA 0 s",
        progress.bar(49, 10, 10, 2))
    end)

    it("never says 100% before the end, nor more", function()
      assert.matches("^ 99%%", progress.bar(70, 9999, 10000, nil))
      assert.matches("^100%% %[#+%] 11/10", progress.bar(70, 11, 10, 1))
    end)

    it("fits every terminal", function()
      for width = 1, 200 do
        local bar = progress.bar(width, 123456, 1000000, 98765.4)
        assert.is_true(#bar <= math.min(width, 78), width)
      end
      assert.equal(" 12% 123456/1000000", progress.bar(19, 123456, 1000000))
    end)
  end)

  describe("on a terminal", function()
    local screen, shown, width

    before_each(function()
      screen, width = {}, 60
      shown = progress.new {
        now = 0,
        width = function()
          return width
        end,
        write = function(text)
          screen[#screen + 1] = text
        end,
      }
    end)

    it("shows nothing before the first task", function()
      shown:update(0, 0, 0)
      shown:clear()
      assert.same({}, screen)
    end)

    it("draws over itself, and waits at the start of the line", function()
      shown:update(0, 0, 4)
      shown:update(1, 2, 4)
      assert.same({ "\r0 done, 4 sent so far\27[K\r" }, { screen[1] })
      assert.equal(2, #screen)
      for _, text in ipairs(screen) do
        assert.matches("^\r[^\r]+\27%[K\r$", text)
      end
      assert.matches("2/4  2.0/s  ETA 1 s", screen[2], 1, true)
    end)

    it("writes nothing when nothing has changed", function()
      shown:update(0, 1, 4)
      shown:update(0.1, 1, 4)
      assert.equal(1, #screen)
    end)

    it("draws again after a second: a worker may have written over it",
      function()
        shown:update(0, 0, 4)
        shown:update(1, 0, 4)
        shown:update(1.9, 0, 4)
        assert.equal(2, #screen)
        shown:update(2, 0, 4)
        assert.equal(3, #screen)
        assert.equal(screen[2], screen[3])
      end)

    it("is taken away without a trace, and comes back", function()
      shown:update(0, 1, 4)
      shown:clear()
      shown:clear()
      assert.equal("\r\27[K", screen[2])
      assert.equal(2, #screen)
      shown:update(0.1, 1, 4)
      assert.equal(3, #screen)
    end)

    it("knows a terminal that changes its width", function()
      for i, columns in ipairs { 60, 15, 30 } do
        width = columns
        shown:update(i * 0.7, 1, 4) -- counts, and a bar in the end
        assert.is_true(#screen[i]:match("\r(.*)\27") <= columns - 1)
      end
      assert.matches("^\r1 done,", screen[2])
      assert.matches("^\r 25%%", screen[3])
    end)

    it("knows no share while more is being sent", function()
      for second = 1, 10 do
        shown:update(second / 2, second, second + 10)
        assert.matches(("^\r%d done, %d sent so far"):format(second,
          second + 10), screen[#screen])
      end
      assert.matches("sent so far, 2.0/s\27", screen[#screen])
      shown:update(5.9, 10, 20)
      assert.matches("so far", screen[#screen])
      shown:update(6, 10, 20)
      assert.matches("^\r 50%%.* 10/20 .*ETA ", screen[#screen])
    end)

    -- The bar is not to come and go when each task takes a while.
    it("waits for longer than it was ever quiet before", function()
      for second = 0, 30 do
        local step = second // 3
        shown:update(second, step, step + 4)
        assert.equal(second < 3 and second > 0,
          not screen[#screen]:find("so far"))
      end
      shown:update(36, 14, 14)
      assert.matches("^\r100%%", screen[#screen])
    end)

    it("takes no rest after the last task for a sign of more", function()
      shown:update(0, 0, 10)
      shown:update(5, 10, 10)
      shown:update(60, 10, 20)
      assert.matches("so far", screen[#screen])
      shown:update(61, 12, 20)
      assert.matches("^\r 60%%", screen[#screen])
    end)

    it("takes the rate of the last seconds", function()
      for second = 0, 10 do
        shown:update(second, second * 10, 1000)
      end
      assert.matches("10/s", screen[#screen], 1, true)
      for second = 11, 30 do
        shown:update(second, 100 + (second - 10) * 2, 1000)
      end
      assert.matches("2.0/s  ETA 7:10", screen[#screen], 1, true)
    end)
  end)

  describe("elsewhere", function()
    it("writes a line every few seconds, if there is anything new", function()
      local lines = {}
      local shown = progress.new {
        now = 0,
        write = function(text)
          lines[#lines + 1] = text
        end,
      }
      for tenth = 1, 200 do
        shown:update(tenth / 10, math.min(tenth, 110), 1000)
      end
      shown:clear()
      assert.same({
        "taskengine: 50 of 1000 tasks done, 10/s, about 1:35 left\n",
        "taskengine: 100 of 1000 tasks done, 10/s, about 1:30 left\n",
        "taskengine: 110 of 1000 tasks done, 2.0/s, about 7:25 left\n",
      }, lines)
    end)
  end)
end)
