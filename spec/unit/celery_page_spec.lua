--- The page for those who come from Celery.

local bound = require("taskengine.bound")
local canvas = require("taskengine.canvas")
local group_result = require("taskengine.canvas.group_result")
local handle = require("taskengine.canvas.handle")
local result = require("taskengine.result")
local te = require("taskengine")

local PAGE <const> = "docs/celery.md"

describe("the page for those who come from Celery", function()
  local rows = {}
  for line in io.lines(PAGE) do
    local theirs, ours = line:gsub("\\|", "\0"):match("^| (.-) | (.-) |$")
    if theirs and theirs ~= "Celery" then
      rows[#rows + 1] = { theirs = theirs, ours = ours }
    end
  end

  it("says of each feature same, better or not, and how or why", function()
    assert.is_true(#rows > 100)
    for _, row in ipairs(rows) do
      local word, rest = row.ours:match("^(%l+)(.*)$")
      assert.is_true(word == "same" or rest ~= ""
        and (word == "better" or word == "not"), row.theirs)
      assert.is_true(word == "same" or rest:find("[:;]") ~= nil, row.theirs)
    end
  end)

  it("names methods that there are", function()
    local app = te.app("page")
    local one = app:task("one", function() end)
    local flow = handle.new(nil, ("x"):rep(12))
    local owners = {
      app = app, task = one, sig = one:s(), group = canvas.group(),
      self = bound.here("one", { n = 0 }), result = result.new(nil, "an-id"),
      ["result.flow"] = flow, te = te,
    }
    local seen = 0
    for _, row in ipairs(rows) do
      for owner, name in row.ours:gmatch("`([%l.]+)[:.]([%l_]+)[ (]") do
        local there = owners[owner]
        assert.is_function(there and there[name], owner .. ":" .. name)
        seen = seen + 1
      end
    end
    assert.is_true(seen > 30)
    for _, name in ipairs { "get", "join", "ready", "successful", "failed",
      "completed_count", "revoke", "forget", "iter", "wait" } do
      assert.is_function(group_result.empty()[name], name)
    end
  end)
end)
