--- Sidekiq: threads of Ruby processes; keeps no results.
--
-- A job is gone from Redis when a process has taken it, so what LLEN no longer
-- counts is at most the threads ahead of what is done.
-- @module bench.peers.sidekiq.system

local FOLDER <const> = "bench/peers/sidekiq/"

local sidekiq = { name = "Sidekiq", share = 4, packages = "sidekiq" }

sidekiq.version_command = "sidekiq --version | cut -d ' ' -f 2"

--- What is set, and why.
sidekiq.settings = {
  "two processes, since a Ruby process computes on one core at a time",
  "five threads each (`-c 5`): faster here than 1, 2, 10 or 20",
  "the hiredis driver, which is faster than the one in Ruby",
  "`push_bulk` of 1,000 jobs, its own default",
}

function sidekiq.env(server)
  return { BENCH_SOCKET = server.socket }
end

sidekiq.client = { "ruby", FOLDER .. "client.rb" }

local WORKER <const> = {
  "sidekiq", "-r", "./" .. FOLDER .. "jobs.rb", "-c", "5", "-q", "default",
  "-e", "production",
}
sidekiq.workers = { WORKER, WORKER }

function sidekiq.done(server, sent)
  return sent - server:call("LLEN", "queue:default")
end

--- Once the processes have ended: they count what they did then at the latest.
function sidekiq.counted(server)
  return tonumber(server:call("GET", "stat:processed"))
end

return sidekiq
