--- The man page and the completions know what the commands take.

local broker = require("taskengine.broker")
local commands = require("taskengine.cli.commands")
local settings = require("taskengine.settings")

local function read(path)
  local file <close> = assert(io.open("share/" .. path, "rb"))
  return file:read("a")
end

local function each_option(visit)
  for _, entry in ipairs(commands.LIST) do
    for _, option in ipairs(commands.find(entry[1]).spec.options or {}) do
      if not option.is_hidden then
        visit(entry[1], option)
      end
    end
  end
end

describe("the man page", function()
  local page = read("man/man1/taskengine.1")

  -- From its heading to the next one.
  local function section(name)
    return assert(page:match("\n%.SH " .. name .. "\n(.-\n)%.SH "))
  end

  it("has every command", function()
    local text = "\n" .. section("COMMANDS")
    for _, entry in ipairs(commands.LIST) do
      assert.matches("\n.TP\n.B " .. entry[1] .. "\n", text, 1, true)
    end
  end)

  it("has every setting, with what holds without it", function()
    local text = section("SETTINGS")
    for name, known in pairs(settings.KNOWN) do
      local default = known.default or name == "broker" and broker.DEFAULT
      assert.matches(default and ('\n.TP\n.BR %s " (%s)"\n'):format(name,
        tostring(default)) or "\n.TP\n.B " .. name .. "\n", text, 1, true)
    end
  end)

  it("has every option", function()
    each_option(function(_, option)
      local long = "\\-\\-" .. option.long:gsub("-", "\\-")
      local line = option.short
        and (".BR \\-%s \", \" %s"):format(option.short, long)
        or option.value and ".BR " .. long or ".B " .. long
      assert.matches("\n.TP\n" .. line, page, 1, true)
    end)
  end)
end)

describe("the completions", function()
  local made = dofile("tools/completions.lua")

  for shell, path in pairs(made.FILES) do
    it(("of %s are what tools/completions.lua makes"):format(shell), function()
      local file <close> = assert(io.open(path, "rb"))
      assert.equal(made[shell](), file:read("a"),
        "make them anew: lua5.4 tools/completions.lua")
    end)
  end

  it("offer every command and option", function()
    local bash, zsh, fish = made.bash(), made.zsh(), made.fish()
    for _, entry in ipairs(commands.LIST) do
      assert.matches("\n    [" .. entry[1] .. ']="--', bash, 1, true)
      assert.matches("\n  " .. entry[1] .. ")\n", zsh, 1, true)
      assert.matches("-f -a " .. entry[1] .. " ", fish, 1, true)
    end
    for _, action in ipairs(commands.find("dead").spec.operands.words) do
      assert.matches('%[dead%]="[^"-]*' .. action .. '[^"]*"\n', bash)
      assert.matches("'1:ACTION:%([^)]*" .. action .. "[^)]*%)'", zsh)
      assert.matches("from dead; and not [^\n]* %-a '[^']*" .. action, fish)
    end
    each_option(function(name, option)
      local long = option.long:gsub("-", "%%-")
      local words = bash:match("%[" .. name .. '%]="([^"]*)"')
      assert.matches("%-%-" .. long .. "%f[%s]", words)
      local case = zsh:match("\n  " .. name .. "%)\n(.-);;")
      assert.matches("%-%-" .. long .. (option.value and "=" or "") .. "}?'%[",
        case)
      assert.matches("from " .. name .. "'[^\n]* %-l " .. long .. " ", fish)
    end)
  end)

  local function complete(words)
    local command = ([[
      . share/bash-completion/completions/taskengine
      compopt() { :; }
      COMP_WORDS=(taskengine %s) COMP_CWORD=%d
      _taskengine; echo "${COMPREPLY[*]}"]]):format(words,
      select(2, words:gsub("%S+", "")))
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(command)
    file:close()
    local pipe <close> = io.popen("bash " .. path .. " 2>&1")
    local text = pipe:read("a"):gsub("\n$", "")
    os.remove(path)
    return text
  end

  it("of bash complete commands, options, words and Lua files", function()
    assert.equal("status", complete("stat"))
    assert.equal("--processes", complete("worker --proc"))
    assert.equal("debug", complete("worker -l deb"))
    assert.equal("taskengine-scm-1.rockspec",
      complete("status --file taskengine-"))
    assert.equal("tools/lint.lua", complete("run tools/lint"))
    assert.equal("", complete("queues tools/lint"))
    assert.equal("requeue", complete("dead req"))
    assert.equal("dead", complete("help de"))
    assert.equal("debug", complete("worker --level = deb"))
  end)
end)
