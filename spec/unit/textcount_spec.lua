local core = require("taskengine.core")
local seed = require("spec.support.seed")
local textcount = require("native.textcount")
local words = require("spec.support.words")

-- The white space of Unicode, as Python's str.isspace has it.
local SPACES <const> = {
  "\t", "\n", "\v", "\f", "\r", "\x1c", "\x1d", "\x1e", "\x1f", " ", "\u{85}",
  "\u{a0}", "\u{1680}", "\u{2000}", "\u{2001}", "\u{2002}", "\u{2003}",
  "\u{2004}", "\u{2005}", "\u{2006}", "\u{2007}", "\u{2008}", "\u{2009}",
  "\u{200a}", "\u{2028}", "\u{2029}", "\u{202f}", "\u{205f}", "\u{3000}",
}
-- What looks like it: other characters, and bytes that are none.
local WORDS <const> = {
  "a", "b", "ab", "\u{e9}", "\u{84}", "\u{1681}", "\u{200b}", "\u{2027}",
  "\u{205e}", "\u{2060}", "\u{3001}", "\u{feff}", "\u{1f600}", "\0", "\x08",
  "\x0e", "\x1b", "\x85", "\xa0", "\xc2", "\xe2", "\xe2\x80", "\xe1\x9a",
  "\xe3\x80", "\xe3", "\xff", "\x80", "\xf0\x9f", "\xc3\x85", "\xc0\xa0",
}

-- Words, lines and different words, in the plainest way.
local function plain(text)
  text = text:gsub("\r\n", "\n"):gsub("\r", "\n")
  local _, lines = text:gsub("\n", "")
  local known, different, all, at, from = {}, 0, 0, 1, 1
  local function end_word(last)
    local word = text:sub(from, last)
    if word ~= "" then
      all = all + 1
      different = different + (known[word] and 0 or 1)
      known[word] = true
    end
  end
  while at <= #text do
    local found
    for _, space in ipairs(SPACES) do
      found = found or text:sub(at, at + #space - 1) == space and space
    end
    if found then
      end_word(at - 1)
      from = at + #found
    end
    at = at + (found and #found or 1)
  end
  end_word(#text)
  return { all, lines, different }
end

local function count(text, step, slots)
  local counter <close> = textcount.new("/tmp", slots)
  for at = 1, #text, step do
    assert(counter:feed(text:sub(at, at + step - 1)))
  end
  return table.pack(counter:finish())
end

local function check(text)
  local expected = plain(text)
  expected.n = 3
  for _, step in ipairs { 1, 2, 3, 5, 100, #text + 1 } do
    assert.same(expected, count(text, step))
  end
end

describe("native.textcount", function()
  it("counts as Python does", function()
    for text, expected in pairs {
      [""] = { 0, 0, 0 },
      ["\n"] = { 0, 1, 0 },
      ["a"] = { 1, 0, 1 },
      ["a b\na"] = { 3, 1, 2 },
      ["a b\na\n"] = { 3, 2, 2 },
      ["a\r\nb\r\n"] = { 2, 2, 2 },
      ["a\rb\r\r\n\n"] = { 2, 4, 2 },
      ["a\u{2028}b\u{85}a"] = { 3, 0, 2 },
      ["a\xff a\xfe a\xff"] = { 3, 0, 2 },
    } do
      assert.same(expected, plain(text))
      check(text)
    end
  end)

  it("knows every white space, and nothing like it", function()
    for _, space in ipairs(SPACES) do
      check("a" .. space .. "b")
      check(space .. space .. "a\r" .. space .. "\n")
    end
    for _, word in ipairs(WORDS) do
      check("a" .. word .. "b " .. word)
      check(word)
    end
  end)

  it("counts any text, however it is cut", function()
    seed.begin()
    local pieces = table.move(SPACES, 1, #SPACES, #WORDS + 1,
      table.move(WORDS, 1, #WORDS, 1, {}))
    for _ = 1, 60 do
      check(words.shuffled(pieces, math.random(0, 150)))
    end
  end)

  it("tells long words apart, also by their end alone", function()
    for size = 0, 40 do
      local word = ("x"):rep(size)
      check(("%sa %sb %sa %s"):format(word, word, word, word))
    end
    local long = ("x"):rep(3000000)
    assert.same({ 3, 0, 2, n = 3 },
      count(long .. "a " .. long .. "b " .. long .. "a", 65537))
  end)

  it("counts different words that do not fit into memory", function()
    -- More than fit at once of those that have a byte in common, too.
    for _, case in ipairs { { 500, 1 }, { 5000, 3 }, { 300000, 2 } } do
      local n, times = table.unpack(case)
      local list = {}
      for i = 0, n * times - 1 do
        list[i + 1] = ("%x"):format(i * 7919 % n)
      end
      assert.same({ n * times, 0, n, n = 3 },
        count(table.concat(list, " "), 100000, 1024))
    end
  end)

  it("leaves nothing behind", function()
    local folder = os.tmpname()
    os.remove(folder)
    assert(core.sys.mkdir_p(folder))
    do
      local counter <close> = textcount.new(folder, 1024)
      for i = 1, 3000 do
        counter:feed(i .. " ")
      end
      assert.same({}, core.sys.list(folder))
    end
    assert(os.remove(folder))
  end)

  it("says when there is no room for its words", function()
    local counter = textcount.new("/nowhere", 1024)
    local problem = "words that do not fit into memory: No such file or"
      .. " directory"
    local found, why
    for i = 1, 1000 do
      found, why = counter:feed(i .. " ")
      if not found then
        break
      end
    end
    assert.same({ nil, problem }, { found, why })
    assert.same({ nil, problem }, { counter:finish() })
  end)

  it("raises when it is misused", function()
    local counter = textcount.new("/tmp")
    counter:finish()
    for _, case in ipairs {
      { "a closed counter", counter.feed, counter, "x" },
      { "a closed counter", counter.finish, counter },
      { "string expected", counter.feed, textcount.new("/tmp"), {} },
      { "1024 to 2%^28 expected", textcount.new, "/tmp", 1000 },
      { "string expected", textcount.new },
    } do
      assert.error_matches(function()
        case[2](table.unpack(case, 3, 4))
      end, "bad argument #?%w+ .*" .. case[1])
    end
  end)
end)
