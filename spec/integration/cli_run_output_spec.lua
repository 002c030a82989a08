local program = require("spec.support.program")
local scripts = require("spec.support.scripts")

describe("What taskengine run shows:", function()
  local site = scripts.for_each_spec()

  it("says when what the script prints gets lost", function()
    site.place:write("print.lua", [[
      require("taskengine").app("x"):main(function(args)
        if args[1] == "write" then io.write(("x"):rep(1e5))
        elseif args[1] == "method" then io.stdout:write(("x"):rep(1e5))
        else print("x") end
        if args[1] == "exit" then os.exit() end
      end)]])
    local function print_to(redirection, how)
      return site.place:run({ "-c", ("exec '%s' run print.lua %s %s"):format(
        program.PATH, how, redirection) }, { program = "sh" })
    end
    for _, how in ipairs { "print", "write", "method", "exit" } do
      for redirection, why in pairs {
        [">/dev/full"] = "No space left on device",
        [">&-"] = "Bad file descriptor",
      } do
        local ended = print_to(redirection, how)
        assert.same({ 1, ("taskengine: stdout cannot be written to: %s\n")
          :format(why) }, { ended.code, ended.stderr })
      end
    end
    assert.same({ 0, "x\n" }, { print_to("", "print").code,
      print_to("", "print").stdout })
  end)

  describe("with tasks that print", function()
    before_each(function()
      site.place:write("printing.lua", [[
        print("loading")
        local app = require("taskengine").app("printing")
        local greet = app:task("greet", { bind = true }, function(self, name)
          print("Hello " .. name)
          io.write("written\n")
          os.execute("echo from a program")
          self:log("warn", "careful")
        end)
        app:main(function()
          greet:delay("Ada"):get()
          io.write("the result\n")
        end)
      ]])
    end)

    local function lines_of(text)
      local lines = {}
      for line in text:gmatch("([^\n]*)\n") do
        lines[#lines + 1] = line:gsub("^%d%S+Z ", ""):gsub("%[%w+%]", "")
      end
      return lines
    end

    local PRINTED <const> = { "info  greet Hello Ada", "info  greet written",
      "warn  greet careful" }
    local BY_PROGRAM <const> = "from a program"

    -- Without the line of the program, which goes its own way to stderr: what
    -- stands before and behind it depends on who is faster.
    local function without_program(lines)
      for i, line in ipairs(lines) do
        if line == BY_PROGRAM then
          table.remove(lines, i)
          return lines
        end
      end
      error("the program's line is not there")
    end

    it("shows that on stderr; stdout is the script's own", function()
      local ended = site:run("printing.lua")
      assert.equal("loading\nthe result\n", ended.stdout)
      assert.same(PRINTED, without_program(lines_of(ended.stderr)))
    end)

    it("shows only warnings of it with --quiet", function()
      assert.same({ PRINTED[3] },
        without_program(lines_of(site:run("-q", "printing.lua").stderr)))
    end)

    it("shows what --level says", function()
      assert.same({ BY_PROGRAM },
        lines_of(site:run("--level", "error", "printing.lua").stderr))
      local all = site:run("--level", "info", "-q", "printing.lua").stderr
      assert.matches("info  ready: ", all, 1, true)
      assert.matches("info  greet%[%w+%] Hello Ada\n", all)
      assert.matches("info  greet%[%w+%] succeeded", all)
    end)
  end)

  describe("on a terminal", function()
    -- util-linux' script gives it one, and writes down what comes.
    local function on_terminal(words)
      local command = ("%s run -P 1 %s"):format(program.PATH, words)
      local out = site.place.dir .. "/typescript"
      site.place:run({ "-qefc", command, out }, { program = "script" })
      local file <close> = assert(io.open(out, "rb"))
      return file:read("a")
    end

    it("shows a bar, and takes it away before the script's lines", function()
      local shown = on_terminal("script.lua naps 20 0.08")
      assert.matches("\r%d+ done, 20 sent so far", shown)
      assert.matches("\r +%d+%% %[[# ]+%] %d+/20  %d+/s  ETA %d s\27%[K\r",
        shown)
      assert.matches("\r\27%[Kall done\r\n", shown)
      local after = shown:match("all done\r\n(.*)$")
      assert.not_matches("%d/20", after)
    end)

    it("takes it away before what a task prints", function()
      site.place:write("printing.lua", [[
        local te = require("taskengine")
        local app = te.app("printing")
        local function is_shown()
          local file <close> = io.open("typescript", "rb")
          return file and file:read("a"):find("\r[^\r\n]+\27%[K")
        end
        local greet = app:task("greet", function()
          while not is_shown() do te.sleep(0.01) end
          print("Hello")
        end)
        app:main(function() greet:delay():get() end)
      ]])
      local shown = on_terminal("printing.lua")
      assert.matches("\r[^\r\n]+\27%[K\r"
        .. "[\r\27%[K]*%S+Z info  greet%[%w+%] Hello\r\n", shown)
    end)

    it("shows none with --quiet", function()
      local shown = on_terminal("--quiet script.lua naps 20 0.03")
      assert.not_matches("/20", shown)
      assert.matches("all done\r\n", shown)
    end)
  end)

  it("shows no bar where there is no terminal", function()
    local ended = site:run("script.lua", "naps", "20", "0.01")
    assert.equal("", ended.stderr)
  end)
end)
