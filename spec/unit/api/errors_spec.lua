local errors = require("taskengine.errors")

describe("taskengine.errors", function()
  it("takes the name of an error off what the core says", function()
    for message, sentence in pairs {
      ["ENOENT: no such file"] = "no such file",
      ["EAI_NONAME: cannot connect: unknown node"] =
        "cannot connect: unknown node",
      ["E2BIG: argument list too long"] = "argument list too long",
      ["ECANNOT: value.X: inf"] = "value.X: inf",
      ["Redis: no"] = "Redis: no",
      ["no NAME: here"] = "no NAME: here",
    } do
      assert.equal(sentence, errors.sentence(message))
    end
  end)

  it("calls the place of a header as the caller does", function()
    for problem, message in pairs {
      ["ECANNOT: options.h: a function cannot be sent"] =
        "options.headers: a function cannot be sent",
      ["ECANNOT: options.h.h[1]: no"] = "options.headers.h[1]: no",
      ["ECANNOT: options.hat: no"] = "options.hat: no",
      ["ECANNOT: args[1].options.h: no"] = "args[1].options.h: no",
    } do
      local e = errors.cannot_travel(problem, "ECANNOT", "t")
      assert.same({ "CannotTravel", message, "t" },
        { e.kind, e.message, e.name })
    end
  end)

  it("names what is ours among arguments, not what is inside of it", function()
    local app = require("taskengine").app("spec")
    local add = app:task("add", function() end)
    local function message_of(value)
      return errors.cannot_travel("ECANNOT: args[2].task.app: no", "ECANNOT",
        "t", { 1, value }).message
    end
    assert.equal("args[2]: a canvas cannot be sent; to_table() makes a table of"
      .. " it that can, and app:signature(table) a canvas of that",
      message_of(add:s(1)))
    assert.equal("args[2]: a task cannot be sent", message_of(add))
    assert.equal("args[2].task.app: no", message_of({}))
    assert.equal("args[2].task.app: no",
      message_of(setmetatable({}, { __name = "mine" })))
  end)
end)
