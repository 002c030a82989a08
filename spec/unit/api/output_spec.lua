--- What tasks print and write, each in a process of its own.

local script = require("spec.support.script")

describe("taskengine.output", function()
  -- The lines that a text of Lua has put into the log, where `|` stands
  -- between two of them and the last part was not ended.
  local function lines_of(text)
    local folder <close> = script.folder { ["main.lua"] = [[
      local said = {}
      local lines = require("taskengine.output").redirect(
        function(level, token, line)
          said[#said + 1] = line
          assert(level == "info" and token == nil)
        end)
      local function run() ]] .. text .. [[ end
      run()
      lines:finish()
      local file <close> = io.open("said", "w")
      file:write(table.concat(said, "|"))
    ]] }
    local out, err, code = script.run(folder.dir, "main.lua")
    assert.same({ "", "", 0 }, { out, err, code })
    local file <close> = assert(io.open(folder.dir .. "/said"))
    return file:read("a")
  end

  it("takes what print writes, line by line", function()
    assert.equal("1 nil x|a|b||", lines_of([[
      print(1, nil, "x") print("a\nb") print() print("") ]]))
  end)

  it("takes what is written to stdout and stderr", function()
    assert.equal("one 2|three 4.5|end", lines_of([[
      io.write("one ", 2):write("\nthree ") io.stdout:write(4.5, "\n")
      io.stderr:write("e") io.output(io.stderr):write("nd") ]]))
  end)

  it("lets a begun line out when it is flushed, or very long", function()
    assert.equal("a|b|c", lines_of([[
      io.write("a") io.flush() io.write("b") io.stdout:flush()
      io.flush() io.write("c") ]]))
    assert.equal(("x"):rep(20000) .. "|y",
      lines_of('io.write(("x"):rep(20000)) io.write("y")'))
  end)

  it("leaves other files alone", function()
    assert.equal("file", lines_of([[
      local file = io.open("x", "w")
      io.output(file) io.write("in a ", "file") file:flush() io.flush()
      io.close() io.output(io.stdout)
      io.write(io.open("x"):read("a"):sub(6)) ]]))
  end)

  it("refuses what files refuse, where they do", function()
    assert.equal("main.lua:7: bad argument #2 to 'write'"
      .. " (string expected, got nil)|true", lines_of([[
      local ok, why = pcall(function() io.write("a", nil) end) print(why)
      print(select(2, pcall(function() io.stdout:write({}) end)) ~= nil) ]]))
  end)

  it("lets begun lines out before the process exits", function()
    local folder <close> = script.folder { ["main.lua"] = [[
      require("taskengine.output").redirect(function(_, _, line)
        local file <close> = io.open("said", "w")
        file:write(line)
      end)
      io.write("not ended")
      os.exit(7)
    ]] }
    assert.equal(7, (select(3, script.run(folder.dir, "main.lua"))))
    local file <close> = assert(io.open(folder.dir .. "/said"))
    assert.equal("not ended", file:read("a"))
  end)
end)
