--- `taskengine doctor`: looks whether all is well, and says what to do.
-- @module taskengine.cli.doctor

local broker = require("taskengine.broker")
local common = require("taskengine.cli.common")
local core = require("taskengine.core")
local doctor_host = require("taskengine.cli.doctor_host")
local doctor_redis = require("taskengine.cli.doctor_redis")
local doctor_use = require("taskengine.cli.doctor_use")
local errors = require("taskengine.errors")
local exit = require("taskengine.cli.exit")
local findings = require("taskengine.cli.findings")
local link = require("taskengine.cli.link")
local say = require("taskengine.cli.say")
local scheduler = require("taskengine.scheduler")
local show = require("taskengine.cli.show")

local doctor = {}

doctor.spec = {
  name = "doctor",
  usage = "doctor [OPTIONS]",
  about = "Looks at Redis and at this machine, and says what is well, what may"
    .. " lead to trouble (warn) and what does not work (fail), with what to do"
    .. " about it. It starts and changes nothing: an embedded Redis is looked"
    .. " at only while it runs. Exit code 1: something does not work, 3: Redis"
    .. " cannot be reached.",
  options = { link.FILE, common.BROKER, common.CONFIG, common.JSON },
  examples = {
    "taskengine doctor",
    "taskengine doctor -b redis://localhost:6379/0",
    "taskengine doctor -f tasks.lua --json",
  },
}

-- The settings, or nil when they are wrong: the rest can be looked at without.
local function settings_of(list, given)
  local ok, settings = pcall(link.settings, given)
  if ok then
    list:ok("settings", "they are well-formed, as are the variables"
      .. " TASKENGINE_*")
    return settings
  elseif not exit.is(settings) then
    error(settings, 0)
  end
  list:fail("settings", settings.text, settings.advice)
end

-- Where to connect: an embedded Redis is not started for this.
local function address_of(list, url)
  local parsed = core.url.parse(url)
  if parsed.scheme ~= "embedded" then
    return url, parsed
  end
  local _, socket = core.embedded.paths(parsed.name)
  local stat = socket and core.sys.stat(socket)
  if not stat or stat.type ~= "socket" then
    list:ok("broker", core.url.masked(url) .. " does not run; whatever needs"
      .. " it starts it")
    return nil, parsed
  end
  return "redis+unix://" .. socket:gsub("[^%w/._-]", function(c)
    return ("%%%02X"):format(c:byte())
  end), parsed
end

-- An open connection; or nil and why there is none.
local function connect(url, timeout_ms)
  local connection, problem
  local up = scheduler.await("Redis", function(wake)
    local timer
    local function conclude(...)
      if timer then
        timer:close()
        timer = nil
        wake(...)
      end
    end
    timer = core.loop.timer(timeout_ms, function()
      conclude(false)
    end)
    connection, problem = core.redis.connect(url, {
      name = "taskengine-doctor",
      timeout_ms = math.floor(timeout_ms),
      on_up = function()
        conclude(true)
      end,
      on_down = function(why, _, is_hopeless)
        problem = why
        if is_hopeless then
          conclude(false)
        end
      end,
    })
    if not connection then
      conclude(false)
    end
  end)
  if up then
    return connection
  end
  if connection then
    connection:close()
  end
  return nil, problem and errors.sentence(problem)
    or ("no answer within %.14g s"):format(timeout_ms / 1000)
end

-- A function that sends a command and waits for its reply.
local function asker(connection)
  return function(...)
    local words = { ... }
    return scheduler.await("Redis", function(wake)
      connection:call_list(function(reply, why)
        wake(reply, why and errors.sentence(why))
      end, words)
    end)
  end
end

local PLACES <const> = "-b URL, TASKENGINE_BROKER and the configuration file"
  .. " say where it is"

-- One that says itself why it is of no use does run.
local function advice_on(why)
  return why:find("^Redis at ") and PLACES
    or "is Redis running there? " .. PLACES
end

-- Returns whether Redis could be reached where it should be.
local function look_at_redis(list, settings, url)
  local address, parsed = address_of(list, url)
  if not address then
    return true, parsed
  end
  local connection, why = connect(address, settings.broker_timeout * 1000)
  if not connection then
    list:fail("broker", ("%s cannot be used: %s"):format(
      core.url.masked(url), why), advice_on(why))
    return false, parsed
  end
  list:ok("broker", core.url.masked(url) .. " answers")
  local ask = asker(connection)
  doctor_redis.check(list, ask, core.sys.wall())
  doctor_use.check(list, ask, ("te:{%s.0}:"):format(settings.namespace))
  connection:close()
  return true, parsed
end

local MARKS <const> = { ok = "ok    ", warn = "warn  ", fail = "FAIL  " }

local function write_text(list)
  for _, finding in ipairs(list) do
    io.write(MARKS[finding.level], finding.name, ": ",
      (say.clean(finding.text):gsub("\n", " ")), "\n")
    if finding.advice and finding.level ~= "ok" then
      io.write("      ", (say.clean(finding.advice):gsub("\n", " ")), "\n")
    end
  end
  io.write(("\n%d ok, %d warn, %d fail\n"):format(list:count("ok"),
    list:count("warn"), list:count("fail")))
end

local function is_local(parsed)
  return parsed ~= nil and (parsed.scheme ~= "redis"
    or parsed.host == "localhost" or parsed.host == "127.0.0.1"
    or parsed.host == "::1")
end

--- Runs the command.
-- @tparam table given
-- @treturn int the exit code
function doctor.run(given)
  common.open_loop()
  local list = findings.new()
  local settings = settings_of(list, given)
  local is_reached, parsed = true, nil
  if settings then
    is_reached, parsed = look_at_redis(list, settings,
      settings.broker or broker.DEFAULT)
  end
  doctor_host.check(list, parsed ~= nil and parsed.scheme == "embedded",
    is_local(parsed))
  if given.json then
    show.json {
      findings = table.move(list, 1, #list, 1, {}),
      ok = list:count("ok"), warn = list:count("warn"),
      fail = list:count("fail"),
    }
  else
    write_text(list)
  end
  if not is_reached then
    return exit.UNREACHABLE
  end
  return list:count("fail") > 0 and exit.FAILED or exit.OK
end

return doctor
