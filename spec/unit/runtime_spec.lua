-- The program itself, with a command line of the spec's own in place of
-- taskengine.cli.

describe("runtime", function()
  local program = os.getenv("TE_BUILD") .. "/taskengine"
  local folder

  before_each(function()
    local process <close> = assert(io.popen("mktemp -d"))
    folder = process:read("l")
    os.execute(("mkdir %s/taskengine"):format(folder))
  end)

  after_each(function()
    os.execute("rm -rf " .. folder)
  end)

  local function write(name, text)
    local file <close> = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text)
  end

  -- Runs the program with this main: what it wrote, and its exit code.
  local function run(main, arguments)
    write("taskengine/cli.lua",
      "return { main = function(argv) " .. main .. " end }")
    local process = assert(io.popen(("TASKENGINE_LUA_DIR=%s %s %s 2>&1")
      :format(folder, program, arguments or "")))
    local output = process:read("a")
    local ok, _, code = process:close()
    return output, ok and 0 or code
  end

  it("hands the arguments on and ends with the code of main", function()
    assert.same({ program .. "|2|a b||", 42 }, { run([[
      io.write(argv[0], "|", #argv, "|", table.concat(argv, "|"), "|")
      return 42]], "'a b' ''") })
    assert.same({ "", 0 }, { run("return 0") })
  end)

  it("ends with 70 and a traceback when main fails", function()
    local output, code = run("error('broken')")
    assert.truthy(output:find("^taskengine: .*/taskengine/cli.lua:1: broken\n"
      .. "stack traceback:\n"))
    assert.equal(70, code)
    output, code = run("error(setmetatable({}, { __tostring = function()"
      .. " return 'an object' end }))")
    assert.same({ "taskengine: an object\n", 70 }, { output, code })
    output, code = run("error(setmetatable({}, { __tostring = error }))")
    assert.same({ "", 70 }, { output, code })
  end)

  it("takes no other answer than an integer for the code", function()
    for _, answer in ipairs { "nil", "'0'", "0.5", "{}" } do
      local output, code = run("return " .. answer)
      assert.truthy(output:find("main returned no exit code", 1, true))
      assert.equal(70, code)
    end
  end)

  it("has Lua's libraries and ours", function()
    assert.same({ "table\ttable\tfunction\n", 0 }, { run([[
      print(type(require("string")), type(require("taskengine.core")),
        type(require("taskengine.core").loop.run))
      return 0]]) })
  end)

  it("is what sys.exe names", function()
    assert.same({ program .. "\n", 0 }, { run([[
      print(require("taskengine.core").sys.exe())
      return 0]]) })
  end)

  it("finds modules inside the program, under names to read", function()
    assert.same({ "taskengine/library.lua\ttaskengine/library.lua\n", 0 },
      { run([[
        local module, where = require("taskengine.library")
        for _, value in pairs(module) do
          if type(value) == "function" then
            print(where, debug.getinfo(value, "S").short_src)
            return 0
          end
        end]]) })
  end)

  it("looks into TASKENGINE_LUA_DIR first", function()
    write("taskengine/library.lua",
      "return { 'mine', debug.getinfo(1).source }")
    os.execute(("mkdir %s/taskengine/deep"):format(folder))
    write("taskengine/deep/init.lua", "return { 'deep' }")
    local output = run([[
      local library = require("taskengine.library")
      print(library[1], library[2], require("taskengine.deep")[1])
      return 0]])
    assert.equal(("mine\t@%s/taskengine/library.lua\tdeep\n"):format(folder),
      output)
  end)

  it("says where a module of ours is missing or malformed", function()
    assert.truthy(run([[require("taskengine.nothing")]])
      :find("no module 'taskengine.nothing' in the program", 1, true))
    write("taskengine/bad.lua", "return +")
    assert.truthy(run([[require("taskengine.bad")]])
      :find("/taskengine/bad.lua:1: unexpected symbol", 1, true))
  end)

  it("leaves the modules of others to others", function()
    write("other.lua", "return { 'other' }")
    write("taskengine_other.lua", "return { 'named alike' }")
    assert.same({ "other\tnamed alike\n", 0 }, { run(([[
      package.path = "%s/?.lua"
      print(require("other")[1], require("taskengine_other")[1])
      return 0]]):format(folder)) })
  end)

  it("closes its state before it ends", function()
    assert.same({ "finalized\n", 3 }, { run([[
      setmetatable({}, { __gc = function() print("finalized") end })
      require("taskengine.core").loop.timer(1e9, error)
      return 3]]) })
  end)
end)
