--- This engine: a worker of two children.
-- @module bench.peers.taskengine.system

local FOLDER <const> = "bench/peers/taskengine/"
local PROGRAM <const> = os.getenv("TASKENGINE_PROGRAM") or "build/taskengine"

local taskengine = { name = "taskengine", share = 1 }

taskengine.keeps_results = true
taskengine.has_workflows = true
taskengine.program = PROGRAM
taskengine.version_command = PROGRAM .. " --version | cut -d ' ' -f 2"

--- What is set, and why.
taskengine.settings = {
  "`-P 2`: two processes that run tasks; all else by default, so results are"
    .. " kept for a day and a crash loses nothing",
}

function taskengine.env(server)
  return { TASKENGINE_BROKER = server.url }
end

taskengine.client = { "lua5.4", FOLDER .. "client.lua" }

taskengine.workers = {
  { PROGRAM, "worker", "bench/tasks.lua", "-P", "2", "-l", "warn" },
}

function taskengine.done(server)
  return server:done()
end

taskengine.counted = taskengine.done

return taskengine
