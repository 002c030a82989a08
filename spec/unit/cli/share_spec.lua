--- The man page and the completions know what the commands take.

local commands = require("taskengine.cli.commands")

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

  it("has every command", function()
    for _, entry in ipairs(commands.LIST) do
      assert.matches("\n.TP\n.B " .. entry[1] .. "\n", page, 1, true)
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

describe("the completion for", function()
  it("bash offers every option of every command, and no other", function()
    local text = read("bash-completion/completions/taskengine")
    local offered = {}
    for name, words in text:gmatch('%[(%w+)%]="([^"]*)"') do
      offered[name] = {}
      for word in words:gmatch("%-%-(%S+)") do
        offered[name][word] = true
      end
    end
    local wanted = {}
    for _, entry in ipairs(commands.LIST) do
      wanted[entry[1]] = { help = true }
    end
    each_option(function(name, option)
      wanted[name][option.long] = true
    end)
    assert.same(wanted, offered)
  end)

  it("zsh and fish offers every command and option", function()
    local zsh = read("zsh/site-functions/_taskengine")
    local fish = read("fish/vendor_completions.d/taskengine.fish")
    for _, entry in ipairs(commands.LIST) do
      assert.matches("[( ]" .. entry[1] .. '\\:"', zsh)
      assert.matches("-f -a " .. entry[1] .. " ", fish, 1, true)
    end
    each_option(function(_, option)
      assert.matches("--" .. option.long .. "[^%w-]", zsh)
      assert.matches("%-l " .. option.long:gsub("-", "%%-") .. " ", fish)
    end)
  end)
end)
