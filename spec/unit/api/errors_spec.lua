local core = require("taskengine.core")
local errors = require("taskengine.errors")
local handle = require("taskengine.canvas.handle")
local result = require("taskengine.result")
local results = require("taskengine.results")
local te = require("taskengine")

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

  describe("names what is ours, not what is inside of it:", function()
    local app = te.app("spec")
    local add = app:task("add", function() end)
    local one = result.new(nil, "any")

    for words, value in pairs {
      ["a canvas cannot be sent; to_table() makes a table of it that can, and"
        .. " app:signature(table) a canvas of that"] = add:s(1),
      ["a result cannot be sent; what get() returns can, or its id, for"
        .. " app:result(id)"] = one,
      ["the result of a group cannot be sent; what get() returns can, or its"
        .. " id, for app:result(id)"] = te.group {}(),
      ["a list of results cannot be sent; what get() of each returns can, or"
        .. " its id, for app:result(id)"] = results.new(nil, {}, {}),
      ["a flow cannot be sent; its id can, for app:flow(id)"] =
        handle.new(nil, ("p"):rep(12)),
      ["a task cannot be sent; its name can, for app:send_task(name, args)"] =
        add,
      ["an app cannot be sent; where a task runs is one already"] = app,
    } do
      it(words:match("^[^;]+"), function()
        for place, outer in pairs {
          ["args[2]"] = { 1, value },
          ["args[1].x[2]"] = { { x = { 1, value } } },
        } do
          local _, why = core.codec.encode_args(outer)
          assert.equal(("ECANNOT: %s: %s"):format(place, words), why)
        end
        local _, why = core.codec.encode(value, "result")
        assert.equal("ECANNOT: result: " .. words, why)
        _, why = core.json.encode({ a = value }, { root = "result" })
        assert.equal("ECANNOT: result.a: " .. words, why)
      end)
    end
  end)

  it("can be sent, whatever they hold", function()
    local e = errors.new { kind = "Mine", message = "no", id = "1" }
    assert.same({ kind = "Mine", message = "no", id = "1" },
      (core.codec.decode(core.codec.encode(e))))
  end)
end)
