local core = require("taskengine.core")
local recipe = require("recipes.recipe")
local script = require("spec.support.script")
local wait_until = require("spec.support.wait").wait_until

local NOBODY <const> = 4194305 -- no process has this number, or a greater one

describe("what recipes share", function()
  local function refuse(text, ...)
    error(text:format(...), 0)
  end

  local function read(most, ...)
    return recipe.read({ ... }, { ["--out"] = tostring, ["--n"] = tonumber },
      refuse, most)
  end

  it("tells options from what is none", function()
    assert.same({ "a", "b", out = "x", n = 7 },
      read(nil, "a", "--out", "x", "b", "--n", "7"))
    assert.same({ "--out", "--", "--other", n = 7 },
      read(3, "--n", "7", "--", "--out", "--", "--other"))
    assert.same({ "-", out = "--" }, read(1, "--out", "--", "-"))
  end)

  it("refuses what it does not know, and options without a value", function()
    for problem, words in pairs {
      ["unknown argument '--of'"] = { "--of", "x" },
      ["unknown argument 'y'"] = { "x", "y" },
      ["--out: its value is missing"] = { "x", "--out" },
    } do
      assert.has_error(function()
        read(1, table.unpack(words))
      end, problem)
    end
  end)

  it("knows the folder of a path", function()
    for path, parts in pairs {
      ["a"] = { ".", "a" }, ["/a"] = { "/", "a" }, ["a/b"] = { "a", "b" },
      ["/a/b/c"] = { "/a/b", "c" },
    } do
      assert.same(parts, { recipe.split(path) })
    end
  end)

  describe("notes what was sent", function()
    local function id(i)
      return ("id-%017d"):format(i)
    end

    local function revoked_of(path)
      local revoked
      recipe.revoke({ revoke = function(_, ids)
        revoked = ids
      end }, path)
      return revoked
    end

    it("so that what has not ended is revoked after an error", function()
      local folder <close> = script.folder {}
      local path = folder.dir .. "/sent"
      assert.has_error(function()
        local sent <close> = assert(recipe.sent(path))
        sent:note(2, id(1))
        sent:note(4, id(2))
        sent:note(2, id(3))
        assert.same({ id(3), id(2) }, revoked_of(path))
        error("it ends", 0)
      end, "it ends")
      assert.same({ id(3), id(2) }, revoked_of(path))
    end)

    it("until all of it has ended", function()
      local folder <close> = script.folder {}
      do
        local sent <close> = assert(recipe.sent(folder.dir .. "/sent"))
        sent:note(1, id(1))
      end
      assert.same({}, core.sys.list(folder.dir))
      assert.same({}, revoked_of(folder.dir .. "/sent"))
    end)
  end)

  it("finds what killed processes of this machine have left", function()
    local host = core.sys.hostname()
    local left = ("a.%s-%d.part"):format(host, NOBODY)
    local folder <close> = script.folder {
      [left] = "",
      ["a." .. host .. "-" .. core.sys.pid() .. ".part"] = "",
      ["a.other" .. host .. "-" .. NOBODY .. ".part"] = "",
      ["b" .. left] = "",
      [left .. "y"] = "",
      [left:gsub("%.", "-", 1)] = "",
    }
    assert.same({ folder.dir .. "/" .. left },
      recipe.left(folder.dir, recipe.literal("a."), "%.part"))
    assert.same({}, recipe.left(folder.dir .. "/none", "", ""))
  end)

  it("finds what processes have left that were not reaped", function()
    -- Its name looks like what tells how it stands.
    local folder <close> = script.folder { ["a) Z 1"] = "#!/bin/sh\n"
      .. "echo $$\nread -r _ <" .. "\"$1\"\n" }
    local gate = folder.dir .. "/gate"
    assert(os.execute(("mkfifo '%s' && chmod +x '%s/a) Z 1'"):format(gate,
      folder.dir)))
    local child <close> = io.popen(("exec '%s/a) Z 1' '%s'"):format(folder.dir,
      gate))
    local pid = child:read("n")
    local name = ("a.%s-%d.part"):format(core.sys.hostname(), pid)
    io.open(folder.dir .. "/" .. name, "w"):close()
    local function left()
      return recipe.left(folder.dir, "a%.", "%.part")
    end
    assert.same({}, left())
    io.open(gate, "w"):close()
    wait_until(function()
      return #left() > 0
    end)
    assert.is_table(core.sys.stat("/proc/" .. pid))
    assert.same({ folder.dir .. "/" .. name }, left())
  end)
end)
