--- Celery: a Python process with two children.
-- @module bench.peers.celery.system

local FOLDER <const> = "bench/peers/celery"
local PYTHON <const> = "/usr/bin/python3" -- Debian's, which has the packages

local celery = { name = "Celery", share = 40, packages = "celery" }

celery.keeps_results = true
celery.has_workflows = true
celery.version_command = PYTHON .. " -c 'import celery;"
  .. " print(celery.__version__)'"

--- What is set, and why.
celery.settings = {
  "`--pool prefork -c 2`: processes, since Python threads share a core",
  "a prefetch multiplier of 128: faster here than 1, 4, 16, 0 (no limit) or"
    .. " `-O fair`",
  "acknowledged early, its default, which is faster: a crash loses tasks",
  "results in the same Redis; hiredis; no events, gossip, mingle, heartbeat",
}

function celery.env(server)
  return {
    BENCH_SOCKET = server.socket,
    BENCH_PREFETCH = "128",
    PYTHONPATH = FOLDER,
    PYTHONDONTWRITEBYTECODE = "1",
    PYTHONWARNINGS = "ignore",
  }
end

celery.client = { PYTHON, FOLDER .. "/client.py" }

celery.workers = {
  {
    PYTHON, "-m", "celery", "-A", "tasks", "--quiet", "worker", "--pool",
    "prefork", "-c", "2", "--loglevel", "ERROR", "--without-gossip",
    "--without-mingle", "--without-heartbeat",
  },
}

--- A result is a key. The others that there may be are these.
function celery.done(server)
  return server:call("DBSIZE") - server:call("EXISTS", "celery", "unacked",
    "unacked_index", "unacked_mutex", "_kombu.binding.celery",
    "_kombu.binding.celery.pidbox", "_kombu.binding.celeryev")
end

function celery.counted(server)
  return server:call("EVAL", "return #redis.call('KEYS', ARGV[1])", "0",
    "celery-task-meta-*")
end

return celery
