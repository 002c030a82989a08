local script = require("spec.support.script")

describe("scribe", function()
  -- What a program with these lines wrote to its stderr, a pipe, and what
  -- they returned.
  local function run(lines)
    local folder <close> = script.folder { ["main.lua"] = [[
      local scribe = require("taskengine.core").testing.scribe
      local function main() ]] .. lines .. [[ end
      local result = tostring((main()))
      scribe.stop(10000)
      io.write(result)
    ]] }
    local program <close> = assert(io.popen(
      ("cd %s && exec lua5.4 main.lua 2>&1 >said"):format(folder.dir)))
    local written = program:read("a")
    local said <close> = assert(io.open(folder.dir .. "/said"))
    return written, said:read("a")
  end

  it("writes lines in their order, and again after it was stopped", function()
    assert.equal("1\nand\n2\nand\n3\nand\n", (run [[
      for i = 1, 3 do
        assert(scribe.add(i .. "\n"))
        assert(scribe.add("and\n"))
        scribe.stop(10000)
      end
    ]]))
  end)

  it("says what a file has no room for, after what it has", function()
    local folder <close> = script.folder { ["main.lua"] = [[
      local scribe = require("taskengine.core").testing.scribe
      local line = ("x"):rep(99) .. "\n"
      io.write(select(2, scribe.add(line:rep(10))))
    ]] }
    -- The fourth line lacks nothing but its end, and is none that was left out.
    for room, left in pairs { [250] = "750", [300] = "700", [399] = "600" } do
      local program <close> = assert(io.popen(("cd %s && rm -f written &&"
        .. " trap '' XFSZ && exec prlimit --fsize=%d lua5.4 main.lua 2>written")
        :format(folder.dir, room)))
      assert.equal(left, program:read("a"))
    end
  end)

  it("leaves out what never has room, and goes on", function()
    assert.same({ "before\nbehind\n", "false" }, { run [[
      assert(scribe.add("before\n"))
      scribe.stop(10000)
      local is_taken = scribe.add(("x"):rep(scribe.BYTES_MAX))
      assert(scribe.add("behind\n"))
      return is_taken
    ]] })
  end)
end)
