--- The pages for users, as what they ask the reader to do.
--
-- A page is a sequence of blocks in fences. What a reader would do with them is
-- what is done here, in a folder of the page's own:
--
--  - `lua` whose first line is a comment with a file's name: the file is
--    written;
--  - `console`: a line behind `$ ` is a command (`> ` goes on with it), what
--    follows up to the next is what it prints, on both streams. `...` and
--    the spaces behind it stand for anything on its line, and alone on a line
--    for any lines.
--
-- Others are there to be read: of `lua` it is looked at whether it compiles.
-- The commands of a page are one script, so what is started with `&` is there
-- for those behind it; it ends with the page.
-- @module spec.support.guide

local program = require("spec.support.program")

local guide = {}

local LIMIT_S <const> = 60
local LINGER_S <const> = "3"
local MARK <const> = "@@@"

--- Reads a page.
-- @tparam string path
-- @treturn {table,...} blocks: `language`, `line` (its first one), `text`
function guide.read(path)
  local blocks, block, n = {}, nil, 0
  for line in io.lines(path) do
    n = n + 1
    local fence, language = line:match("^%s*(```)(%w*)")
    if not fence and block then
      block[#block + 1] = line
    elseif block then
      block.text = table.concat(block, "\n") .. "\n"
      blocks[#blocks + 1], block = block, nil
    elseif fence then
      block = { language = language, line = n + 1 }
    end
  end
  return blocks
end

--- The file that a block is.
-- @tparam table block
-- @treturn ?string its name
function guide.file_of(block)
  return block.language == "lua" and block.text:match("^%-%- (%S+%.lua)\n")
    or nil
end

--- The commands of a block.
-- @tparam table block
-- @treturn {table,...} `text`, `output`
function guide.commands(block)
  local list = {}
  for line in block.text:gmatch("([^\n]*)\n") do
    local command, more = line:match("^%$ (.*)"), line:match("^> (.*)")
    local last = list[#list]
    if command then
      list[#list + 1] = { text = command, output = "" }
    elseif more then
      last.text = last.text .. "\n" .. more
    else
      last.output = last.output .. line .. "\n"
    end
  end
  return list
end

-- What is expected as a pattern of Lua's; \1 stands for the dots.
local function pattern_of(output)
  local text = output:gsub("%s+$", ""):gsub("%.%.%. *", "\1")
    :gsub("[^%w\1\n]", "%%%0")
  local parts = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do
    parts[#parts + 1] = line == "\1" and "[^\0]-"
      or line:gsub("\1", "[^\n]-")
  end
  return "^" .. table.concat(parts, "\n") .. "$"
end

--- Whether a command printed what a page says.
-- @tparam string printed
-- @tparam string expected
-- @treturn boolean
function guide.is_alike(printed, expected)
  return printed:gsub("%s+$", ""):find(pattern_of(expected)) ~= nil
end

local PREPARE <const> = [[
exec 2>&1
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
trap 'exit 1' TERM
]]

-- The page as a script, and the commands in their order.
local function script_of(blocks)
  local lines, commands = { PREPARE }, {}
  for _, block in ipairs(blocks) do
    local name = guide.file_of(block)
    if name then
      lines[#lines + 1] = ("cat >%s <<'%s'\n%s%s"):format(name, MARK,
        block.text, MARK)
    elseif block.language == "console" then
      for _, command in ipairs(guide.commands(block)) do
        lines[#lines + 1] = ("%s\nprintf '\\n%s\\n'"):format(command.text,
          MARK)
        command.line = block.line
        commands[#commands + 1] = command
      end
    end
  end
  return table.concat(lines, "\n") .. "\n", commands
end

-- A private Redis ends with its last user: where a page does not begin with a
-- worker, the next command has to find it all the same.
local function linger(commands)
  return commands[1] and commands[1].text:find("&$") and "0" or LINGER_S
end

--- Does what a page says.
-- @tparam string path
-- @treturn {table,...} its commands: `text`, `line` of their block, `output`
-- (what the page says that they print), `printed`
function guide.follow(path)
  local place <close> = program.place()
  local text, commands = script_of(guide.read(path))
  local ended = place:run({ "-k", "5", tostring(LIMIT_S), "bash",
    place:write("page.sh", text) }, {
      program = "timeout",
      limit = LIMIT_S + 10,
      env = {
        PATH = program.PATH:match("^(.*)/") .. ":" .. os.getenv("PATH"),
        TASKENGINE_EMBEDDED_LINGER = linger(commands),
      },
    })
  local i = 0
  for printed in ended.stdout:gmatch("(.-)\n" .. MARK .. "\n") do
    i = i + 1
    commands[i].printed = printed
  end
  return commands
end

return guide
