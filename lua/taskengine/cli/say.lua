--- What a command says besides its data: on stderr, for people.
-- @module taskengine.cli.say

local core = require("taskengine.core")

local say = {}

local is_json = false

--- Says all that follows as JSON objects, like lines of a log.
-- @tparam boolean whether
function say.set_json(whether)
  is_json = whether
  core.log.set_json(whether)
end

-- Also U+0080 to U+009F, which terminals obey.
local function escape(text)
  text = text:gsub("[%z\1-\8\11-\31\127]", function(c)
    return ("\\x%02x"):format(c:byte())
  end)
  return (text:gsub("\xc2([\x80-\x9f])", function(c)
    return ("\\xc2\\x%02x"):format(c:byte())
  end))
end

--- Makes a text harmless for a terminal: of the control characters only line
-- breaks and tabs are left.
-- @tparam string text
-- @treturn string
function say.clean(text)
  return escape(text)
end

--- Says something.
-- @tparam string text
function say.note(text)
  if is_json then
    return core.log.write("warn", text, true)
  end
  io.stderr:write("taskengine: ", escape(text), "\n")
end

--- Says what is wrong, and what to do next.
-- @tparam string text
-- @tparam ?string advice
function say.problem(text, advice)
  if is_json then
    return core.log.write("error", advice and text .. "\n" .. advice or text,
      true)
  end
  say.note(text)
  if advice then
    io.stderr:write("  ", escape(advice):gsub("\n", "\n  "), "\n")
  end
end

return say
