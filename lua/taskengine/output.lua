--- What tasks print and write becomes lines of the worker's log.
--
-- That is `print`, `io.write` and the methods of `io.stdout` and `io.stderr`.
-- What other programs and native modules write goes to the worker's stderr as
-- it is: the file descriptors lead there.
-- @module taskengine.output

local scheduler = require("taskengine.scheduler")

local output = {}

local LINE_BYTES_MAX <const> = 16384 -- longer ones are cut in the log

local function is_text(value)
  local kind = type(value)
  return kind == "string" or kind == "number"
end

local function check_texts(...)
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    if not is_text(value) then
      error(("bad argument #%d to 'write' (string expected, got %s)"):format(i,
        type(value)), 3)
    end
  end
end

--- What was written.
-- @type Lines
local Lines = {}
Lines.__index = Lines

local function running_token()
  local fiber = scheduler.current()
  return fiber and fiber.task and fiber.task.token
end

--- Takes what was written; a line goes out at its end.
-- @tparam string text
function Lines:add(text)
  local token = running_token()
  local key = token or false
  text = (self.begun[key] or "") .. text
  local from, at = 1, text:find("\n", 1, true)
  while at do
    self.log("info", token, text:sub(from, at - 1))
    from = at + 1
    at = text:find("\n", from, true)
  end
  self.begun[key] = from <= #text and text:sub(from) or nil
  if #text - from + 1 >= LINE_BYTES_MAX then
    self:finish(token)
  end
end

--- Lets out the line that a task has begun and not ended.
-- @tparam ?int token nil: what no task has written
function Lines:finish(token)
  local key = token or false
  local line = self.begun[key]
  if line then
    self.begun[key] = nil
    self.log("info", token, line)
  end
end

--- The same for all: the process ends.
function Lines:finish_all()
  for key in pairs(self.begun) do
    self:finish(key or nil)
  end
end

local function redirect_files(lines)
  local stdout, stderr = io.stdout, io.stderr
  local methods = getmetatable(stdout).__index
  local write_before, flush_before = methods.write, methods.flush
  local io_write_before, io_flush_before = io.write, io.flush
  local current = io.output

  local function is_ours(file)
    return file == stdout or file == stderr
  end
  local function write(file, ...)
    check_texts(...)
    lines:add(table.concat { ... })
    return file
  end

  function methods.write(file, ...)
    if is_ours(file) then
      return write(file, ...)
    end
    return write_before(file, ...)
  end
  function methods.flush(file)
    if is_ours(file) then
      lines:finish(running_token())
    end
    return flush_before(file)
  end
  rawset(_G.io, "write", function(...)
    if is_ours(current()) then
      return write(current(), ...)
    end
    return io_write_before(...)
  end)
  rawset(_G.io, "flush", function()
    if is_ours(current()) then
      lines:finish(running_token())
    end
    return io_flush_before()
  end)
end

--- Redirects it, for good.
-- @tparam function log gets a level, a token (nil: of no task) and a line
-- @treturn Lines
function output.redirect(log)
  local lines = setmetatable({ log = log, begun = {} }, Lines)
  redirect_files(lines)
  _G.print = function(...)
    local words = table.pack(...)
    for i = 1, words.n do
      words[i] = tostring(words[i])
    end
    lines:add(table.concat(words, " ") .. "\n")
  end
  local exit_before = os.exit
  rawset(_G.os, "exit", function(...)
    lines:finish_all()
    exit_before(...)
  end)
  return lines
end

return output
