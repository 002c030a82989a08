std = "lua54"
max_line_length = 80
max_cyclomatic_complexity = 12
self = false
exclude_files = { "build/" }
files["spec/"] = { std = "+busted" }
-- The parts of one text: prelude.lua, which comes first, has these as locals;
-- BUILD stands above it.
files["lua/taskengine/functions/"] = {
  std = "lua51",
  globals = { "te" },
  read_globals = {
    "BUILD", "DIGITS", "digit_value", "digit_text", "texts", "chars", "redis",
    "cmsgpack", "call", "byte", "sub", "char",
  },
}
-- Some of its locals are there for the other parts alone.
files["lua/taskengine/functions/prelude.lua"] = { ignore = { "2[34]1" } }
