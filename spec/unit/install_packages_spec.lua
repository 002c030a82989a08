local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  assert(file:write(text))
end

describe("tools/install-packages", function()
  local folder

  -- Runs it where only a shell's usual tools and those of `folder` exist.
  -- Returns the exit code and what it wrote.
  local function run(groups)
    local command = "PATH='%s' /bin/sh tools/install-packages %s"
    local pipe = assert(io.popen(command:format(folder, groups) .. " 2>&1"))
    local text = pipe:read("a")
    local _, _, code = pipe:close()
    return code, text
  end

  local function add(name, script)
    write(folder .. "/" .. name, "#!/bin/sh\n" .. script .. "\n")
    os.execute(("chmod +x '%s/%s'"):format(folder, name))
  end

  before_each(function()
    local pipe <close> = assert(io.popen("mktemp -d"))
    folder = pipe:read("l")
    for _, tool in ipairs({
      "cat", "cut", "env", "find", "grep", "id", "mktemp", "rm", "sed", "tr",
    }) do
      os.execute(("ln -s \"$(command -v %s)\" '%s'"):format(tool, folder))
    end
  end)

  after_each(function()
    os.execute(("rm -rf '%s'"):format(folder))
  end)

  it("says nothing when all is there", function()
    for _, name in ipairs({
      "cc", "make", "pkg-config", "lua5.4", "redis-server", "ps", "readelf",
      "luarocks",
    }) do
      add(name, "exit 0")
    end
    assert.same({ 0, "" }, { run("run test") })
  end)

  it("names the packages, and stops, without apt", function()
    local code, text = run("run")
    assert.equals(1, code)
    assert.matches("redis%-server +keeps the tasks", text)
    for _, name in ipairs({
      "libuv1-dev", "Fedora", "libuv-devel", "Alpine", "libuv-dev", "Arch",
    }) do
      assert.matches(name, text, 1, true)
    end
    assert.is_nil(text:find("lua-busted", 1, true))
  end)

  it("asks apt for just what is missing, and says why", function()
    local log = folder .. "/log"
    add("apt-get", "echo \"$@\" >>" .. log)
    add("id", "echo 0")
    for _, name in ipairs({ "cc", "make", "pkg-config", "redis-server" }) do
      add(name, "exit 0")
    end
    local code, text = run("run")
    assert.equals(0, code)
    assert.matches("lua5%.4 +embeds the Lua layer", text)
    local file <close> = assert(io.open(log))
    assert.matches("install --no-install-recommends lua5.4\n",
      file:read("a"), 1, true)
  end)

  it("uses sudo only when it is not root", function()
    add("apt-get", "exit 0")
    add("id", "echo 1000")
    local code, text = run("test")
    assert.equals(1, code)
    assert.matches("no sudo; as root: apt-get install lua-busted",
      text, 1, true)
    add("sudo", 'echo sudo >>' .. folder .. '/log; exec "$@"')
    code, text = run("test")
    assert.equals(0, code)
    assert.matches("may ask for your password", text, 1, true)
  end)

  it("shows what apt said when it fails", function()
    add("apt-get", "echo E: no space left; exit 100")
    add("id", "echo 0")
    local code, text = run("lint")
    assert.equals(1, code)
    assert.matches("E: no space left\n.*apt%-get update failed", text)
  end)
end)
