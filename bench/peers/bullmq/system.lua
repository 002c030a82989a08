--- BullMQ: coroutines of Node.js processes.
-- @module bench.peers.bullmq.system

local FOLDER <const> = "bench/peers/bullmq/"
local PLACE <const> = "build/peers/bullmq"

local bullmq = { name = "BullMQ", share = 8, packages = "bullmq" }

bullmq.keeps_results = true
bullmq.has_workflows = true
bullmq.setup_command = ("mkdir -p %s && cp %spackage.json %s && cd %s"
  .. " && (npm ls >/dev/null 2>&1"
  .. " || npm install --no-audit --no-fund --loglevel=error)"):format(PLACE,
  FOLDER, PLACE, PLACE)
bullmq.version_command = ("node -p 'require(\"./%s/node_modules/bullmq/"
  .. "package.json\").version'"):format(PLACE)

--- What is set, and why.
bullmq.settings = {
  "two processes, since a Node.js process computes on one core at a time",
  "`concurrency: 100` in each: as fast as 200, and 2.5 times as fast as 1",
  "finished jobs stay, which is its default, since results are kept",
  "`addBulk` of 1,000 jobs",
}

function bullmq.env(server)
  return {
    BENCH_SOCKET = server.socket,
    BENCH_CONCURRENCY = "100",
    NODE_PATH = PLACE .. "/node_modules",
    NODE_ENV = "production",
  }
end

bullmq.client = { "node", FOLDER .. "client.js" }

local WORKER <const> = { "node", FOLDER .. "worker.js" }
bullmq.workers = { WORKER, WORKER }

function bullmq.done(server)
  return server:call("ZCARD", "bull:bench:completed")
end

bullmq.counted = bullmq.done

return bullmq
