--- The rows of the comparison: what each is called and what it must reach.
--
-- `aim` is a limit by itself; `of_best` one as a multiple of the best peer's
-- median of the same run. `more` says that more is better. A row without
-- either is there to be read. {names} in a title are sizes of the run.
-- @module bench.peers.rows

return {
  { key = "drain", title = "drain, no-op tasks, a second", format = "%d",
    more = true, of_best = 10 },
  { key = "few_us", title = "Redis and worker CPU a task, queue of {first}, us",
    format = "%.1f" },
  { key = "many_us", format = "%.1f",
    title = "the same, first {first} of a queue of {deep}, us" },
  { key = "deep_ratio", title = "the second of these by the first",
    format = "%.2f", aim = 1.1 },
  { key = "bulk", title = "bulk enqueue, one client, a second", format = "%d",
    more = true, of_best = 5 },
  { key = "single", title = "enqueue one by one, a second", format = "%d",
    more = true, of_best = 1.5 },
  { key = "round_p50", title = "round trip of a call, idle worker, p50, ms",
    format = "%.3f", of_best = 0.6 },
  { key = "round_p99", title = "round trip of a call, idle worker, p99, ms",
    format = "%.3f", of_best = 0.8 },
  { key = "drain_redis_us", title = "Redis CPU a task, drain, us",
    format = "%.1f", aim = 5 },
  { key = "queued_bytes", title = "Redis memory a queued add(x, y), bytes",
    format = "%d", aim = 150 },
  { key = "kept_bytes", title = "Redis memory a kept small result, bytes",
    format = "%d", aim = 130 },
  { key = "pss_mb", title = "PSS of the worker after 1,000 tasks, MB",
    format = "%.1f", aim = 12 },
  { key = "start_ms", title = "start to first task done, ms", format = "%d",
    aim = 60 },
  { key = "primesieve_s", format = "%.2f",
    title = "primes to {primes}: the program primesieve, s" },
  { key = "primes_s", title = "primes: tasks, warm worker, s",
    format = "%.2f" },
  { key = "primes_run_s", title = "primes: `taskengine run`, s",
    format = "%.2f" },
  { key = "primes_ratio", format = "%.2f", aim = 1.10,
    title = "primes: warm worker by primesieve's own time" },
  { key = "primes_run_ratio", format = "%.2f", aim = 1.25,
    title = "primes: the whole command by primesieve's" },
}
