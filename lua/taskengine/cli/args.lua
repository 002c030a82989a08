--- Reads the words behind a command.
--
-- What a command takes is a table:
--
--    { name = "worker", operands = { "FILE", min = 1, max = 9 },
--      options = { { short = "P", long = "processes", value = "N",
--        accepts = check.integer(1, 512), help = "..." } },
--      later = { "beat" } }
--
-- An option without `value` is a flag. `accepts` is a check of
-- @{taskengine.check}; `read` instead of it is a function that returns the
-- value, or nil and what is expected. Shells complete a value that is one of
-- `words`, or a FILE; so they do the first operand, of `operands.words`. With
-- `ends_options` the first operand ends the options: all behind it are
-- operands.
-- @module taskengine.cli.args

local check = require("taskengine.check")
local exit = require("taskengine.cli.exit")
local suggest = require("taskengine.suggest")

local args = {}

--- What every command takes.
args.HELP = { short = "h", long = "help", help = "show this help" }

local function advice(spec)
  return ("try: taskengine %s --help"):format(spec.name)
end

local function refuse(spec, ...)
  exit.usage(spec.name .. ": " .. string.format(...), advice(spec))
end

-- Long and short names to options.
local function index(spec)
  local by_word = { ["--help"] = args.HELP, ["-h"] = args.HELP }
  for _, option in ipairs(spec.options or {}) do
    by_word["--" .. option.long] = option
    if option.short then
      by_word["-" .. option.short] = option
    end
  end
  return by_word
end

local function long_names(spec)
  local names = { "--help" }
  for _, option in ipairs(spec.options or {}) do
    if not option.is_hidden then
      names[#names + 1] = "--" .. option.long
    end
  end
  return names
end

local function refuse_option(spec, word)
  for _, name in ipairs(spec.later or {}) do
    if word == "--" .. name then
      refuse(spec, "the option %s is not built yet", word)
    end
  end
  refuse(spec, "unknown option '%s'%s", word,
    suggest.hint(word, long_names(spec)))
end

-- What a value's text stands for.
local function read_value(spec, option, word, text)
  if option.read then
    local value, expected = option.read(text)
    if value == nil then
      refuse(spec, "%s: %s expected, got %s", word, expected,
        check.describe(text))
    end
    return value
  elseif not option.accepts or option.accepts(text) then
    return text
  end
  local number = tonumber(text)
  if number and option.accepts(number) then
    return math.tointeger(number) or number
  end
  refuse(spec, "%s: %s expected, got %s", word, check.wanted(option.accepts),
    check.describe(number or text))
end

local Reader = {}
Reader.__index = Reader

local function set(self, option, word, text)
  if option.value then
    if text == nil then
      self.at = self.at + 1
      text = self.words[self.at]
    end
    if text == nil then
      refuse(self.spec, "%s needs a value: %s", word, option.value)
    end
    text = read_value(self.spec, option, word, text)
  elseif text ~= nil then
    refuse(self.spec, "%s takes no value", word)
  else
    text = true
  end
  self.given[option.long:gsub("-", "_")] = text
end

-- --name, --name=value
local function read_long(self, word)
  local name, text = word:match("^(%-%-[^=]*)=(.*)$")
  name = name or word
  local option = self.by_word[name]
  if not option then
    refuse_option(self.spec, name)
  end
  set(self, option, name, text)
end

-- -P 4, -P4; and flags together: -ab
local function read_short(self, word)
  local at = 2
  while at <= #word do
    local name = "-" .. word:sub(at, at)
    local option = self.by_word[name]
    if not option then
      refuse_option(self.spec, at == 2 and word or name)
    end
    local rest = word:sub(at + 1)
    if option.value then
      return set(self, option, name, rest ~= "" and rest or nil)
    end
    set(self, option, name)
    at = at + 1
  end
end

local function take(self, word)
  if self.are_operands or word == "-" or word:sub(1, 1) ~= "-" then
    table.insert(self.given, word)
    self.are_operands = self.are_operands or self.spec.ends_options
  elseif word == "--" then
    self.are_operands = true
  elseif word:sub(1, 2) == "--" then
    read_long(self, word)
  else
    read_short(self, word)
  end
end

local function check_operands(spec, given)
  local operands = spec.operands or {}
  local min, max = operands.min or #operands, operands.max or #operands
  if #given < min then
    refuse(spec, "%s is missing", operands[#given + 1] or operands[1])
  elseif #given > max then
    refuse(spec, "one word too many: %s", check.describe(given[max + 1]))
  end
end

-- Goes on behind a mistake: how that is to be said may stand there
-- (--log-format). Returns the first one, or nil.
local function read_words(self)
  local problem
  while self.at <= #self.words and not self.given.help do
    local ok, raised = pcall(take, self, self.words[self.at])
    if not ok and not exit.is(raised) then
      error(raised, 0)
    end
    problem = problem or not ok and raised or nil
    self.at = self.at + 1
  end
  return problem
end

--- Reads the words of a command.
-- @tparam table spec what the command takes
-- @tparam {string,...} words
-- @treturn table the operands, in order, and the options by their long names
-- with `_` for `-`. When help is asked for nothing else is checked
-- @raise an exit
function args.read(spec, words)
  local self = setmetatable({
    spec = spec,
    words = words,
    at = 1,
    by_word = index(spec),
    given = {},
  }, Reader)
  local problem = read_words(self)
  if problem then
    error(problem, 0)
  elseif not self.given.help then
    check_operands(spec, self.given)
  end
  return self.given
end

return args
