--- The pictures of the guide show what its program sends, and what becomes of
-- it.

local core = require("taskengine.core")
local files = require("spec.support.files")
local program = require("spec.support.program")

local PAGE <const> = "docs/guide/workflows.md"
local ENTITIES <const> = { ["&#45;"] = "-", ["&gt;"] = ">", ["&lt;"] = "<",
  ["&quot;"] = '"', ["&amp;"] = "&" }

-- What is in a picture, whichever Graphviz has drawn it: for each node its
-- text and colour, for each edge true.
local function seen_in(svg)
  local seen = {}
  for class, content in svg:gmatch('<g id="[^"]*" class="(%l+)">(.-)</g>') do
    content = content:gsub("&[%w#]+;", ENTITIES)
    local title = content:match("<title>(.-)</title>")
    seen[title] = class == "edge" or table.concat({
      content:match("<text[^>]*>(.-)</text>"),
      content:match('fill="(%l+)"'),
      content:find("<ellipse", 1, true) and "ellipse" or "box",
    }, ", ")
  end
  return seen
end

-- The same of what Graphviz gets.
local function told_by(dot)
  local told = {}
  for node, label, shape, colour in dot:gmatch(
    '\n  (n%d+) %[label="(.-)", shape=(%l+), fillcolor=(%l+)%];') do
    told[node] = table.concat({ label, colour, shape }, ", ")
  end
  for edge in dot:gmatch("\n  (n%d+ %-> n%d+);") do
    told[edge:gsub(" ", "")] = true
  end
  return told
end

describe("the pictures of the guide", function()
  local place = program.for_each_spec()

  it("are what tools/pictures draws: make pictures", function()
    local ended = place:run({ "-c", 'cd "$0" && exec tools/pictures "$1"',
      core.sys.realpath("."), place.dir }, {
        program = "/bin/sh", env = { TASKENGINE_PROGRAM = program.PATH },
      })
    assert.same({ 0, "" }, { ended.code, ended.stderr })
    local count = 0
    for name in files.read(PAGE):gmatch("%(pictures/(%l+)%.svg%)") do
      local dot = files.read(("%s/%s.dot"):format(place.dir, name))
      local svg = files.read(("docs/guide/pictures/%s.svg"):format(name))
      assert.equal("addition, palegreen, box",
        (seen_in(svg).n1:gsub("^%l+: ", "")))
      assert.same(told_by(dot), seen_in(svg), name)
      count = count + 1
    end
    assert.equal(4, count)
  end)
end)
