local core = require("taskengine.core")
local program = require("spec.support.program")

local BUILD <const> = program.PATH:match("^(.*)/[^/]*$")

describe("taskengine", function()
  local place

  setup(function()
    place = program.place()
  end)

  teardown(function()
    place:close()
  end)

  local function run(...)
    return place:run { ... }
  end

  it("shows help", function()
    for _, words in ipairs { { "--help" }, { "-h" }, { "help" },
      { "help", "help" } } do
      local ended = run(table.unpack(words))
      assert.same({ 0, "" }, { ended.code, ended.stderr })
      assert.matches("^usage: taskengine COMMAND ", ended.stdout)
      assert.matches("\n  worker +run the tasks", ended.stdout)
    end
  end)

  it("shows the help of a command", function()
    for _, words in ipairs { { "call", "--help" }, { "help", "call" },
      { "--help", "call" }, { "call", "x", "-h" } } do
      local ended = run(table.unpack(words))
      assert.same({ 0, "" }, { ended.code, ended.stderr })
      assert.matches("^usage: taskengine call NAME ", ended.stdout)
    end
  end)

  it("shows its version", function()
    for _, word in ipairs { "--version", "-V" } do
      assert.matches("^taskengine %S+ %(Lua 5.4%)\n$", run(word).stdout)
      local ended = run(word, "--jsno")
      assert.same({ 2, "" }, { ended.code, ended.stdout })
      assert.matches("^taskengine: %-%-version: one word too many: \"%-%-jsno",
        ended.stderr)
    end
  end)

  for message, words in pairs {
    ["a command is missing"] = {},
    ["unknown command 'wroker' (did you mean 'worker'?)"] = { "wroker" },
    ["unknown command 'xyzzy'"] = { "xyzzy" },
    ["unknown command 'a\\x1bb'"] = { "a\27b" },
    ["unknown option '--versoin' (did you mean '--version'?)"] =
      { "--versoin" },
    ["unknown command 'statsu' (did you mean 'status'?)"] =
      { "help", "statsu" },
  } do
    it("refuses '" .. table.concat(words, " "):gsub("%c", "?") .. "'",
      function()
        local ended = run(table.unpack(words))
        assert.same({
          2, "", "taskengine: " .. message
            .. "\n  taskengine --help shows all commands\n",
        }, { ended.code, ended.stdout, ended.stderr })
      end)
  end

  it("says which commands are to come", function()
    for _, name in ipairs { "inspect", "top", "dashboard" } do
      local ended = run(name, "x")
      assert.equal(2, ended.code)
      assert.matches("^taskengine: the command '" .. name
        .. "' is not built yet\n", ended.stderr)
    end
  end)

  it("does not take its inner commands for a user's", function()
    for _, words in ipairs { { "child" }, { "child", "0" }, { "child", "x" },
      { "supervise" } } do
      local ended = run(table.unpack(words))
      assert.equal(2, ended.code)
      assert.matches("^taskengine: %w+: ", ended.stderr)
      assert.not_matches("traceback", ended.stderr)
    end
  end)

  it("takes every index of a child that a worker may have", function()
    -- 512 processes, and for each two that still end what they began.
    local last = 3 * 512 - 1
    assert.matches("of no use alone", run("child", tostring(last)).stderr)
    assert.matches("INDEX: an integer from 0 to " .. last .. " expected",
      run("child", tostring(last + 1)).stderr)
  end)

  it("says when nobody can read what it says", function()
    -- The others are larger than the buffer, and lost before the end.
    for _, words in ipairs { "--version", "env", "env --json" } do
      local ended = place:run({ "-c", ("%s %s >/dev/full"):format(
        program.PATH, words) }, { program = "sh", env = {
          LUA_PATH = ("x"):rep(100000) } })
      assert.same({ 1, "taskengine: stdout cannot be written to: No space left"
        .. " on device\n" }, { ended.code, ended.stderr })
    end
  end)

  it("ends without a word when nobody reads any more", function()
    place:write("print.lua", [[
      require("taskengine").app("x"):main(function() print("unread") end)]])
    for _, words in ipairs { "run print.lua", "worker --help" } do
      local ended = place:run({ "-c", ("exec 3> >(:); wait $!; '%s' %s >&3;"
        .. " exit $?"):format(program.PATH, words) }, { program = "bash" })
      assert.same({ 141, "" }, { ended.code, ended.stderr })
    end
  end)

  it("tells a wrong configuration by its place", function()
    place:write("wrong.lua", "return { brokr = 'redis://h' }")
    local ended = run("status", "--config", "wrong.lua")
    assert.equal(2, ended.code)
    assert.matches("^taskengine: wrong.lua: unknown setting 'brokr'"
      .. " %(did you mean 'broker'%?%)\n", ended.stderr)
    ended = place:run({ "status" }, { env = { TASKENGINE_LEASE = "long" } })
    assert.equal(2, ended.code)
    assert.matches("^taskengine: TASKENGINE_LEASE: lease: seconds ",
      ended.stderr)
  end)

  it("shows no code names to people", function()
    for _, words in ipairs {
      { "status", "-b", "redis://nowhere.invalid" },
      { "status", "-f", "no.lua" },
    } do
      local ended = place:run(words, { env = {
        TASKENGINE_BROKER_TIMEOUT = "0.3",
      } })
      assert.not_equal(0, ended.code)
      assert.not_matches("%f[%w]E[A-Z]", ended.stderr)
    end
  end)

  it("says why an embedded Redis cannot be there", function()
    local env = {
      XDG_STATE_HOME = place:write("file", ""),
      TASKENGINE_BROKER_TIMEOUT = "0.3",
    }
    local folder = env.XDG_STATE_HOME .. "/taskengine"
    for _, words in ipairs { { "status" }, { "call", "x" } } do
      local ended = place:run(words, { env = env })
      assert.equal(3, ended.code)
      assert.matches("taskengine: embedded://default: cannot make the folder "
        .. folder .. ": ", ended.stderr, 1, true)
      assert.matches("\n  its data lies below $XDG_STATE_HOME, or"
        .. " ~/.local/state without that; -b URL names another Redis\n",
        ended.stderr, 1, true)
    end
    place:write("tasks.lua", 'require("taskengine").app("x")'
      .. ':task("t", function() end)')
    local ended = place:run({ "worker", "tasks.lua" }, { env = env })
    assert.equal(3, ended.code)
    assert.matches("taskengine: embedded://default: cannot make the folder "
      .. folder .. ": ", ended.stderr, 1, true)
  end)

  it("takes a folder that it may not write to for wrong usage", function()
    local state = place.dir .. "/state"
    assert(os.execute(("mkdir -m 500 '%s'"):format(state)))
    local env = { XDG_STATE_HOME = state }
    place:write("tasks.lua", 'require("taskengine").app("x")'
      .. ':task("t", function() end)')
    for _, words in ipairs {
      { "status" }, { "call", "x" }, { "result", "x" },
      { "worker", "tasks.lua" },
    } do
      -- Root may write anywhere, but for what it leaves behind here.
      table.move(words, 1, #words, 3)
      words[1] = "--bounding-set=-dac_override,-dac_read_search"
      words[2] = program.PATH
      local ended = place:run(words, { env = env, program = "setpriv" })
      assert.equal(2, ended.code)
      assert.matches(("taskengine: embedded://default: cannot make the folder"
        .. " %s/taskengine: "):format(state), ended.stderr, 1, true)
    end
  end)

  it("says that options of run come before the file", function()
    local text = run("run", "--help").stdout:gsub("%s+", " ")
    assert.matches("Options of run come before FILE: all that comes after it"
      .. " belongs to the script.", text, 1, true)
  end)

  describe("env", function()
    -- What lua5.4 says with the variables that the program prints.
    local function lua_after_env(at, chunk, before)
      local command = ([[
        unset LUA_PATH LUA_CPATH LUA_PATH_5_4 LUA_CPATH_5_4
        %s
        eval "$('%s' env)"; eval "$('%s' env)"
        cd /; exec lua5.4 -e '%s']]):format(before or "", at, at, chunk)
      local ended = place:run({ "-c", command }, { program = "sh" })
      return ended.stdout .. ended.stderr
    end

    local FIND <const> = [[
      local core = require("taskengine.core")
      io.write(package.searchpath("taskengine", package.path), " ",
        package.searchpath("taskengine.core", package.cpath), " ",
        type(require("taskengine").app))]]

    it("lets plain Lua find the module of a build tree", function()
      assert.equal(("%s/lua/taskengine/init.lua %s/lib/taskengine/core.so"
        .. " function"):format(core.sys.realpath("."), BUILD),
        lua_after_env(program.PATH, FIND))
    end)

    it("lets plain Lua find the module that is installed", function()
      local root = place.dir .. "/it's here"
      assert(os.execute(([[
        p="%s"; mkdir -p "$p/bin" "$p/lib/lua/5.4" "$p/share/lua/5.4" &&
        cp "%s" "$p/bin/taskengine" && cp -R "%s/lib/taskengine" \
          "$p/lib/lua/5.4/" && cp -R lua/taskengine "$p/share/lua/5.4/"
        ]]):format(root, program.PATH, BUILD)))
      local at = root:gsub("'", "'\\''") .. "/bin/taskengine"
      assert.equal(("%s/share/lua/5.4/taskengine/init.lua"
        .. " %s/lib/lua/5.4/taskengine/core.so function"):format(root, root),
        lua_after_env(at, FIND))
    end)

    it("keeps what was there, once, and Lua's own default", function()
      for _, name in ipairs { "LUA_PATH", "LUA_PATH_5_4" } do
        local path = lua_after_env(program.PATH, "io.write(package.path)",
          name .. "='/a/?.lua;;/b/?.lua'; export " .. name)
        local ours = core.sys.realpath(".") .. "/lua/"
        assert.equal(("%s?.lua;%s?/init.lua;/a/?.lua;/b/?.lua;"):format(ours,
          ours), path:match("^.-/b/%?%.lua;"))
        assert.matches(";./%?.lua", path)
      end
    end)

    it("says when there is no module that belongs to it", function()
      assert(os.execute(("cp '%s' '%s/alone'"):format(program.PATH,
        place.dir)))
      local ended = place:run({ "env" }, { program = place.dir .. "/alone" })
      assert.same({ 1, "" }, { ended.code, ended.stdout })
      assert.matches("^taskengine: the module that belongs to %S+/alone is not"
        .. " where it is expected\n", ended.stderr)
    end)
  end)
end)
