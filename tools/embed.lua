--- Writes files as one C source: `lua5.4 tools/embed.lua ROOT FILE... > OUT`.
-- Each name is the file's path below ROOT; engine/assets.h says what comes out.

local root = arg[1] .. "/"

local escapes = {
  ["\n"] = "\\n\"\n    \"",
  ["\t"] = "\\t",
  ["\r"] = "\\r",
  ["\\"] = "\\\\",
  ['"'] = '\\"',
  ["?"] = "\\?", -- no trigraphs
}

-- Octal escapes end after three digits, hexadecimal ones do not.
local function escape(char)
  return escapes[char] or ("\\%03o"):format(char:byte())
end

local function literal(text)
  return '"' .. text:gsub('[%c"\\?\127-\255]', escape) .. '"'
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return assert(file:read("a"))
end

local paths = table.move(arg, 2, #arg, 1, {})
table.sort(paths)

local out = { '#include "assets.h"\n' }
local rows = {}
for i, path in ipairs(paths) do
  assert(path:sub(1, #root) == root, path .. " is not below " .. root)
  local text = read(path)
  out[#out + 1] = ("static const char file_%d[] =\n    %s;\n")
    :format(i, literal(text))
  rows[i] = ("    {%s, file_%d, %d},")
    :format(literal(path:sub(#root + 1)), i, #text)
end
rows[#rows + 1] = "    {NULL, NULL, 0},"
out[#out + 1] = ("const te_embedded_file te_embedded_files[] = {\n%s\n};\n")
  :format(table.concat(rows, "\n"))
io.write(table.concat(out, "\n"))
