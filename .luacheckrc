std = "lua54"
max_line_length = 80
max_cyclomatic_complexity = 12
self = false
files["spec/"] = { std = "+busted" }
files["lua/taskengine/functions/"] = {
  std = "lua51",
  read_globals = { "KEYS", "ARGV", "redis", "cjson", "cmsgpack" },
}
