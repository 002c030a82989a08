-- busted under the Lua that runs this file, wherever it is installed.
require("busted.runner")({ standalone = false })
