--- What the pages for users tell the reader to do is done, and prints what they
-- say.

local guide = require("spec.support.guide")

local function pages()
  local list = { "README.md", "docs/celery.md" }
  local found <close> = io.popen("ls docs/guide/*.md")
  for path in found:lines() do
    list[#list + 1] = path
  end
  return list
end

local WRONG <const> = "%s, the block at line %d: %s\n\nprints:\n%s\n\n"
  .. "and not:\n%s"

local function assert_printed(path, command)
  if not guide.is_alike(command.printed or "", command.output) then
    error(WRONG:format(path, command.line, command.text,
      command.printed or "(it did not end)", command.output), 0)
  end
end

describe("the page", function()
  for _, path in ipairs(pages()) do
    it(path .. " has Lua that compiles", function()
      local found = 0
      for _, block in ipairs(guide.read(path)) do
        if block.language == "lua" then
          found = found + 1
          local ok, why = load(block.text, ("=%s:%d"):format(path, block.line))
          assert.truthy(ok, why)
        end
      end
      assert.is_true(found > 0)
    end)

    if path:find("^docs/guide/") then
      it(path .. " says what happens", function()
        local commands = guide.follow(path)
        assert.is_true(#commands > 0)
        for _, command in ipairs(commands) do
          assert_printed(path, command)
        end
      end)
    end
  end
end)

describe("what a page says that a command prints", function()
  local function assert_alike(expected, printed, output)
    assert.equal(expected, guide.is_alike(printed, output))
  end

  it("is what it prints, but for space at its end", function()
    assert_alike(true, "a (1)\n\n", "a (1)\n")
    assert_alike(true, "", "")
    assert_alike(false, "a (2)", "a (1)\n")
    assert_alike(false, "a\nb", "a\n")
    assert_alike(false, "ab", "a\n")
    assert_alike(false, "a", "")
  end)

  it("may have dots for what is another each time", function()
    assert_alike(true, "id 17 done", "id ... done\n")
    assert_alike(false, "id 17\ndone", "id ... done\n")
    assert_alike(true, "one\ntwo\nthree", "one\n...\nthree\n")
    assert_alike(true, "one\ntwo\nthree", "one\n...\n")
    assert_alike(false, "one\ntwo\nthree", "two\n...\n")
  end)
end)
