--- Finds primes as everybody writes it first: slow, and in plain Lua.
--
-- It has the functions of `native/primes.c`, which says how a list is packed,
-- so that each can be measured, and checked, by the other.
-- @module trial_division

local trial_division = {}

local function is_prime(n)
  for divisor = 2, math.floor(math.sqrt(n)) do
    if n % divisor == 0 then
      return false
    end
  end
  return n >= 2
end

--- Counts primes.
-- @tparam int start of the range, which it belongs to
-- @tparam int stop of the range, which it belongs to
-- @treturn int
function trial_division.count(start, stop)
  local count = 0
  for n = start, stop do
    count = count + (is_prime(n) and 1 or 0)
  end
  return count
end

--- Lists primes, packed.
-- @tparam int start as for @{count}
-- @tparam int stop as for @{count}
-- @treturn string
function trial_division.pack(start, stop)
  local packed, last = {}, start
  for n = start, stop do
    if is_prime(n) then
      local gap = n - last
      packed[#packed + 1] = ("\255"):rep(gap // 255) .. string.char(gap % 255)
      last = n
    end
  end
  return table.concat(packed)
end

--- The primes of a packed list.
-- @tparam string packed by @{pack}
-- @tparam int start of its range
-- @treturn {int,...}
function trial_division.unpack(packed, start)
  local primes, n = {}, start
  for i = 1, #packed do
    local gap = packed:byte(i)
    n = n + gap
    if gap < 255 then
      primes[#primes + 1] = n
    end
  end
  return primes
end

--- Writes the primes of a packed list, one a line, and flushes the file.
-- @tparam file file open for writing
-- @tparam string packed by @{pack}
-- @tparam int start of its range
-- @treturn[1] int how many primes
-- @return[2] nil, as `file:write` does
-- @treturn[2] string message
-- @treturn[2] int number of the system's error
function trial_division.write(file, packed, start)
  local primes = trial_division.unpack(packed, start)
  local ok, why, code = file:write(table.concat(primes, "\n"),
    #primes > 0 and "\n" or "")
  if ok then
    ok, why, code = file:flush()
  end
  if not ok then
    return nil, why, code
  end
  return #primes
end

return trial_division
