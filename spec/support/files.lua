--- Reads and writes whole files.
-- @module spec.support.files

local files = {}

--- What is in a file.
-- @tparam string path
-- @treturn ?string nil when it cannot be read
function files.read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read("a")
end

--- Writes a file anew.
-- @tparam string path
-- @tparam string text
function files.write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

return files
