--- The rules of this project that no other tool knows.
--
-- `lua5.4 tools/lint.lua RULE` prints what breaks the rule, a line each, and
-- ends with 1 if anything does; without RULE it prints the rules' names.

-- A file of engine/ includes only what stands above it here; those of
-- engine/bind/ may include all of them.
local layers = {
  "te", "assets", "utf8", "sha256", "list", "heap", "map", "buf", "clock",
  "alarm", "id", "logline", "scribe", "log", "stray",
  "frame", "envelope", "pack", "trail", "codec", "json", "url", "resp",
  "resolve", "stream", "greet", "pace", "pipeline", "redis", "instance",
  "users",
  "redis_process", "redis_server", "supervisor", "launch", "embedded",
  "claims", "wire", "proc", "record", "verdict", "task", "hand", "held",
  "roster", "crew",
  "wear", "turnover", "dispatch", "spin", "pool", "childlog", "report", "news",
  "ledger", "tasklog", "bell", "fcall", "heir", "lease", "handed", "request",
  "round", "queue",
  "runtime", "child", "awaited", "relay", "terms", "worker", "main",
}

-- Which files may include a library's headers.
local confined = {
  { "^hiredis/", { "^engine/resp%.c$" } },
  { "^lua[lx.]", { "^engine/codec%.", "^engine/runtime%.", "^engine/bind/" } },
}

local lines_max = {
  { "^engine/.*%.c$", 500 },
  { "^engine/.*%.h$", 120 },
  { "^recipes/native/.*%.c$", 500 },
  { "%.lua$", 500 },
  { "^Makefile$", 150 },
  { "^README%.md$", 119 },
}

local columns_max = 80

local problems = {}

local function problem(path, line, text, ...)
  problems[#problems + 1] = ("%s:%d: " .. text):format(path, line, ...)
end

local function matches(text, patterns)
  for _, pattern in ipairs(patterns) do
    if text:find(pattern) then
      return true
    end
  end
end

local function files(...)
  local patterns = { ... }
  local found = {}
  local list <close> = assert(io.popen(
    "find Makefile README.md .busted .luacheckrc .ci bench engine examples"
      .. " lua recipes spec tools -type f 2>/dev/null | sort"))
  for path in list:lines() do
    if matches(path, patterns) then
      found[#found + 1] = path
    end
  end
  local i = 0
  return function()
    i = i + 1
    return found[i]
  end
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

local function line_at(text, position)
  local _, breaks = text:sub(1, position - 1):gsub("\n", "")
  return breaks + 1
end

local rules = {}

--- How long files are.
function rules.lengths()
  for path in files("") do
    for _, limit in ipairs(lines_max) do
      if path:find(limit[1]) then
        local _, lines = read(path):gsub("\n", "")
        if lines > limit[2] then
          problem(path, lines, "longer than %d lines", limit[2])
        end
      end
    end
  end
end

--- Line width, white space, marks of unfinished work.
function rules.text()
  -- In two parts, so that this file passes.
  local marks = { "TO" .. "DO", "FIX" .. "ME", "XX" .. "X" }
  for path in files("%.[ch]$", "%.lua$", "^tools/", "^%.", "^Makefile$") do
    local text = read(path)
    local n = 0
    for line in text:gmatch("([^\n]*)\n") do
      n = n + 1
      if (utf8.len(line) or #line) > columns_max then
        problem(path, n, "wider than %d columns", columns_max)
      end
      if line:find("[ \t\r]$") then
        problem(path, n, "white space at the end")
      end
      if path ~= "Makefile" and line:find("\t") then
        problem(path, n, "a tab")
      end
      for _, mark in ipairs(marks) do
        if line:find("%f[%w]" .. mark .. "%f[%W]") then
          problem(path, n, "%s: unfinished work", mark)
        end
      end
    end
    if text ~= "" and text:sub(-1) ~= "\n" then
      problem(path, n + 1, "no newline at the end")
    end
  end
end

--- Which file may include which.
function rules.includes()
  local level = {}
  for i, name in ipairs(layers) do
    level[name] = i
  end

  local function ours(path, line, header)
    local name = path:match("^engine/([%w_]+)%.[ch]$")
    local other = header:match("^([%w_]+)%.h$")
    if name and header:find("^bind/") then
      problem(path, line, "%s lies above", header)
    elseif other and not level[other] then
      problem(path, line, "%s is no layer of tools/lint.lua", header)
    elseif name and other and (level[name] or 0) < level[other] then
      problem(path, line, "%s lies above", header)
    end
  end

  for path in files("^engine/.*%.[ch]$") do
    local name = path:match("^engine/([%w_]+)%.")
    if name and not level[name] then
      problem(path, 1, "%s is no layer of tools/lint.lua", name)
    end
    local text = read(path)
    for at, mark, header in text:gmatch('()#include ([<"])([^>"]+)') do
      local line = line_at(text, at)
      if mark == '"' then
        ours(path, line, header)
      end
      for _, rule in ipairs(confined) do
        if header:find(rule[1]) and not matches(path, rule[2]) then
          problem(path, line, "%s may not be included here", header)
        end
      end
    end
  end
  local makefile = read("Makefile")
  local at = makefile:find("%-I ?engine")
  if at then
    problem("Makefile", line_at(makefile, at), "use -iquote for engine")
  end
end

--- Every name that a binding gives to Lua has an LDoc comment.
function rules.bindings()
  for path in files("^engine/bind/.*%.c$", "^recipes/native/.*%.c$") do
    local text = read(path)
    local documented = {}
    for name in text:gmatch("@function ([%w_.:]+)") do
      documented[name:match("[%w_]+$")] = true
    end
    local is_test = path:find("/testing[^/]*$")
    for at, body in text:gmatch("()luaL_Reg [%w_]+%[%] = (%b{})") do
      for offset, name, fn in body:gmatch('(){"([%w_]+)", *([%w_]+)') do
        local hidden = name:find("^__") or is_test
          or fn:find("^te_bind_open_") -- a sub-table, not a function
        if not hidden and not documented[name] then
          problem(path, line_at(text, at) + line_at(body, offset) - 1,
            "%s has no @function", name)
        end
      end
    end
  end
end

-- The comment that ends on the line before `n`, if it is LDoc's.
local function comment_above(lines, n)
  local first = n
  while first > 1 and lines[first - 1]:find("^%s*%-%-") do
    first = first - 1
  end
  if first < n and lines[first]:find("^%s*%-%-%-") then
    return table.concat(lines, "\n", first, n - 1)
  end
end

local function check_function(path, lines, n, name, parameters)
  local comment = comment_above(lines, n)
  if not comment then
    problem(path, n, "%s has no LDoc comment", name)
    return
  end
  for parameter in parameters:gmatch("[%w_]+") do
    local known = comment:find("@t?param[^\n]*%f[%w_]" .. parameter
      .. "%f[^%w_]")
    if not known and parameter:sub(1, 1) ~= "_" then
      problem(path, n, "%s: %s has no @tparam", name, parameter)
    end
  end
end

--- Every public function of the Lua layer has an LDoc comment.
function rules.functions()
  for path in files("^lua/.*%.lua$") do
    local lines = {}
    for line in read(path):gmatch("([^\n]*)\n") do
      lines[#lines + 1] = line
    end
    local inside_redis = path:find("/functions/")
    for n, line in ipairs(lines) do
      local name, parameters =
        line:match("^function ([%w_]+[.:][%w_]+)(%b())")
      if name and not name:find("[.:]_") and not inside_redis then
        check_function(path, lines, n, name, parameters)
      end
    end
    if not (lines[1] or ""):find("^%-%-") then
      problem(path, 1, "opens without a comment")
    end
  end
end

--- The API pages have every binding but those that only specs use.
function rules.pages()
  local config = read("config.ld")
  for path in files("^engine/bind/.*%.c$") do
    local shown = config:find('"' .. path .. '"', 1, true) ~= nil
    local public = read(path):find("\n@module ") ~= nil
      and not path:find("/testing[^/]*$")
    if public ~= shown then
      problem("config.ld", 1, public and "%s is missing" or "%s is not public",
        path)
    end
  end
end

local name = arg[1]
if not name then
  local names = {}
  for rule in pairs(rules) do
    names[#names + 1] = rule
  end
  table.sort(names)
  print(table.concat(names, "\n"))
  os.exit(0, true)
end
assert(rules[name], "no such rule: " .. name)()
for _, text in ipairs(problems) do
  print(text)
end
os.exit(#problems == 0, true)
