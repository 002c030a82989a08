--- What a worker may still say: its lease, the numbers of its fetches.
-- @module spec.support.model.leases

local leases = {}

--- The reply to a worker that has lost its lease.
leases.FENCED = { "FENCED" }

--- A worker that has its lease, which lasts from now on.
function leases.renew(self, wid, lease_ms)
  local worker = self.workers[wid]
  if worker
    and math.abs(self.now + lease_ms - worker.deadline) * 64 > lease_ms then
    worker.deadline = self.now + lease_ms
  end
  return worker
end

--- Whether a fetch is no older than the last one.
function leases.advance(worker, number)
  local ahead = (number - (worker.number or number - 1)) % (1 << 32)
  if ahead == 0 or ahead >= 1 << 31 then
    return false
  end
  worker.number = number
  return true
end

return leases
