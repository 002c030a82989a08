local core = require("taskengine.core")

describe("the transport of a worker's child", function()
  local transport_child, on_item, on_link, heard

  -- One that notes what it hears.
  local function open(name)
    local transport = transport_child.new()
    for _, event in ipairs { "on_up", "on_gap", "on_down", "on_item" } do
      transport[event] = function(what)
        heard[#heard + 1] = name .. " " .. (what or event)
      end
    end
    return transport
  end

  local function take_heard()
    local list = heard
    heard = {}
    return list
  end

  before_each(function()
    heard = {}
    -- Only a child has the real ones.
    stub(core.child, "on_item", function(fn)
      on_item = fn
    end)
    stub(core.child, "on_link", function(fn)
      on_link = fn
    end)
    package.loaded["taskengine.transport_child"] = nil
    transport_child = require("taskengine.transport_child")
    transport_child.start()
  end)

  after_each(function()
    core.child.on_item:revert()
    core.child.on_link:revert()
    package.loaded["taskengine.transport_child"] = nil
  end)

  it("tells every client what comes from the master", function()
    open("a")
    open("b")
    on_item("item")
    assert.same({ "a item", "b item" }, take_heard())
    on_link(false)
    assert.same({ "a the worker has lost its connection",
      "b the worker has lost its connection" }, take_heard())
    on_link(true)
    assert.same({ "a on_up", "a on_gap", "b on_up", "b on_gap" }, take_heard())
  end)

  it("tells a client that was closed nothing, and lets go of it", function()
    local a = open("a")
    open("b")
    a:close()
    a:close()
    on_item("item")
    on_link(true)
    assert.same({ "b item", "b on_up", "b on_gap" }, take_heard())
    local kept = setmetatable({ a }, { __mode = "v" })
    a = nil
    collectgarbage()
    assert.is_nil(a or kept[1])
  end)

  it("passes nobody over when a client is closed by what it hears", function()
    local a = open("a")
    open("b")
    function a.on_item()
      a:close()
      open("c")
    end
    on_item("one")
    assert.same({ "b one" }, take_heard())
    on_item("two")
    assert.same({ "b two", "c two" }, take_heard())
  end)
end)
