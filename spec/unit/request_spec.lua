local envelope = require("spec.support.envelope")
local testing = require("taskengine.core").testing

local request = testing.request

local function field(number)
  return envelope.field(envelope.id("Producer0001", number), 258)
end

describe("request", function()
  it("is a mode and a field", function()
    assert.same({ field(1), false }, { request.read("c" .. field(1)) })
    assert.same({ field(1), true }, { request.read("t" .. field(1)) })
  end)

  it("is none of another mode or size", function()
    for _, bytes in ipairs {
      "", "c", "w" .. field(1), "\0" .. field(1), field(1),
      "c" .. field(1) .. "x", "c" .. field(1):sub(2),
    } do
      local got, _, code = request.read(bytes)
      assert.same({ nil, "EPROTO" }, { got, code })
    end
  end)

  describe("that comes before its task", function()
    it("is there when that comes, once", function()
      local requests <close> = request.new()
      requests:keep(field(1))
      requests:keep(field(2))
      assert.is_false(requests:take(field(3)))
      assert.is_true(requests:take(field(2)))
      assert.is_false(requests:take(field(2)))
      assert.is_true(requests:take(field(1)))
    end)

    it("may come twice", function()
      local requests <close> = request.new()
      requests:keep(field(1))
      requests:keep(field(1))
      assert.is_true(requests:take(field(1)))
      assert.is_false(requests:take(field(1)))
    end)

    it("is forgotten with all others", function()
      local requests <close> = request.new()
      local live = testing.alloc_live()
      requests:keep(field(1))
      requests:keep(field(2))
      requests:take(field(2))
      requests:clear()
      assert.equal(live, testing.alloc_live())
      requests:keep(field(1))
      requests:take(field(1))
      requests:clear()
      assert.equal(live, testing.alloc_live())
      assert.is_false(requests:take(field(1)))
      requests:keep(field(1))
      assert.is_true(requests:take(field(1)))
    end)

    it("is not kept beside too many", function()
      local requests <close> = request.new()
      for number = 1, request.MAX + 1 do
        requests:keep(field(number))
      end
      assert.is_true(requests:take(field(request.MAX)))
      assert.is_false(requests:take(field(request.MAX + 1)))
    end)
  end)
end)
