--- Where the chance in specs comes from: one seed for all of a file.
-- @module spec.support.seed

local seed = {}

--- TE_SEED, or a new one.
seed.VALUE = math.tointeger(tonumber(os.getenv("TE_SEED"))) or os.time()

--- Begins to draw from the seed, and prints it for who wants to repeat that.
-- @treturn int the seed
function seed.begin()
  io.write(("[TE_SEED=%d]"):format(seed.VALUE))
  math.randomseed(seed.VALUE)
  return seed.VALUE
end

return seed
