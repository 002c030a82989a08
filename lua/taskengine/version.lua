--- Which taskengine this is.
-- @module taskengine.version

local version = {}

--- The version, as `taskengine --version` says it.
version.TEXT = "0.1.0-dev"

return version
