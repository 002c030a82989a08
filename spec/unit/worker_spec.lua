local script = require("spec.support.script")

-- A child that has loaded, as it says with 16 MB.
local CHILD <const> = [[#!/bin/sh
printf '\001\000\000\002H\001' >&3
head -c 16777216 /dev/zero >&3
exec cat <&3 >/dev/null
]]

local MAIN <const> = [[
  local core = require("taskengine.core")
  core.loop.on_error(function(problem)
    print(problem)
    os.exit(0)
  end)
  local worker = assert(core.worker.new({
    program = "./child.sh", processes = 1, concurrency = 1, config = "",
    task_level = "info",
  }, { on_hello = print }))
  core.guard.count_memory()
  core.guard.limit_memory(8 << 20)
  assert(worker:start())
  while true do
    core.loop.run("once")
  end
]]

describe("taskengine.core.worker", function()
  it("has an error reported when what it tells takes too much memory",
    function()
      local folder <close> = script.folder { ["child.sh"] = CHILD,
        ["main.lua"] = MAIN }
      assert(os.execute(("chmod +x '%s/child.sh'"):format(folder.dir)))
      assert.same({ "not enough memory\n", "", 0 },
        { script.run(folder.dir, "main.lua") })
    end)
end)
