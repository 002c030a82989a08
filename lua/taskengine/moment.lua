--- Points in time as people write them.
-- @module taskengine.moment

local moment = {}

-- Milliseconds since 1970 stay exact up to the year 9999.
local SECONDS_MAX <const> = 253402300799

local DAYS <const> = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_leap(year)
  return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
end

-- Days from 1970-01-01 in the Gregorian calendar.
local function days_since_1970(year, month, day)
  -- A year that starts in March has its leap day at the end.
  local y = month > 2 and year or year - 1
  local m = (month + 9) % 12
  local from_march = (153 * m + 2) // 5 + day - 1
  return 365 * y + y // 4 - y // 100 + y // 400 + from_march - 719468
end

local function is_date(year, month, day)
  local days = DAYS[month]
  if not days then
    return false
  elseif month == 2 and is_leap(year) then
    days = 29
  end
  return day >= 1 and day <= days
end

-- Seconds east of Greenwich, or nil.
local function offset(zone)
  if zone == "Z" or zone == "z" then
    return 0
  end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d%d)$")
  if not sign then
    sign, hours = zone:match("^([+-])(%d%d)$")
    minutes = 0
  end
  hours, minutes = tonumber(hours), tonumber(minutes)
  if hours and hours <= 23 and minutes <= 59 then
    return (sign == "-" and -60 or 60) * (hours * 60 + minutes)
  end
end

-- Seconds since midnight, or nil.
local function time_of_day(text)
  local hour, minute, rest = text:match("^(%d%d):(%d%d)(.*)$")
  local second = rest == "" and "0"
    or rest and (rest:match("^:(%d%d)$") or rest:match("^:(%d%d[.,]%d+)$"))
  if not second then
    return nil
  end
  hour, minute = tonumber(hour), tonumber(minute)
  second = tonumber((second:gsub(",", ".")))
  if hour <= 23 and minute <= 59 and second < 60 then
    return hour * 3600 + minute * 60 + second
  end
end

--- Reads an ISO 8601 date and time with a zone.
-- @tparam string text e.g. `2026-03-01T08:30:00+01:00`, `2026-03-01 07:30Z`
-- @treturn ?number seconds since 1970; nil when it is none, or has no zone
function moment.parse(text)
  local year, month, day, clock, zone =
    text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ]([%d:.,]+)%s?([Zz+-][%d:]*)$")
  if not year then
    return nil
  end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  local seconds, east = time_of_day(clock), offset(zone)
  if not (seconds and east and is_date(year, month, day)) then
    return nil
  end
  return days_since_1970(year, month, day) * 86400 + seconds - east
end

--- The point in time that a value stands for.
-- @tparam number|string value seconds since 1970, or ISO 8601 with a zone
-- @treturn ?number seconds since 1970; nil when it stands for none
function moment.seconds(value)
  if type(value) == "string" then
    value = moment.parse(value)
  end
  if type(value) == "number" and value >= 0 and value <= SECONDS_MAX then
    return value
  end
end

--- A time as Redis and headers have it: whole, and no shorter.
-- @tparam number seconds
-- @treturn int milliseconds
function moment.milliseconds(seconds)
  return math.ceil(seconds * 1000)
end

return moment
