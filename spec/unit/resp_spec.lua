local testing = require("taskengine.core").testing

local MEGABYTE <const> = 1024 * 1024

describe("resp", function()
  local reader

  before_each(function()
    reader = testing.redis.reader()
  end)

  after_each(function()
    reader:close()
  end)

  local function feed_all(bytes)
    return assert(reader:feed(bytes))
  end

  local function is_refused(bytes, name)
    local replies, _, got = reader:feed(bytes)
    assert.is_nil(replies)
    assert.equal(name, got)
  end

  local stream = "+OK\r\n-ERR no\r\n:-9223372036854775808\r\n$5\r\nh\r\nlo\r\n"
    .. "$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n"
    .. "*3\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n-WRONGTYPE x\r\n"
  local expected = {
    { type = "status", value = "OK" },
    { type = "error", value = "ERR no" },
    { type = "integer", value = math.mininteger },
    { type = "string", value = "h\r\nlo" },
    { type = "string", value = "" },
    { type = "nil" },
    { type = "nil" },
    { type = "array", value = {} },
    { type = "array", value = {
      { type = "integer", value = 1 },
      { type = "array", value = {
        { type = "string", value = "a" },
        { type = "nil" },
      } },
      { type = "error", value = "WRONGTYPE x" },
    } },
  }

  it("finds the same replies however the stream is split", function()
    for size = 1, #stream do
      local got = {}
      for at = 1, #stream, size do
        for _, reply in ipairs(feed_all(stream:sub(at, at + size - 1))) do
          got[#got + 1] = reply
        end
      end
      assert.same(expected, got)
    end
  end)

  it("reads replies of many sizes one after the other", function()
    for _, size in ipairs { 1, 100, 5000, 300000, 16, 3 * MEGABYTE, 2 } do
      local text = ("x"):rep(size)
      assert.same({ { type = "string", value = text } },
        feed_all(("$%d\r\n%s\r\n"):format(size, text)))
    end
  end)

  it("reads an array of thousands of strings", function()
    local parts, count = {}, 5000
    for i = 1, count do
      parts[i] = ("$%d\r\n%d\r\n"):format(#tostring(i), i)
    end
    local bytes = ("*%d\r\n"):format(count) .. table.concat(parts)
    for _ = 1, 2 do
      local array = feed_all(bytes)[1].value
      assert.equal(count, #array)
      for i = 1, count do
        assert.equal(tostring(i), array[i].value)
      end
    end
  end)

  it("costs no allocation for each string, and keeps none of them", function()
    local bytes = "*256\r\n" .. ("$3\r\nabc\r\n"):rep(256)
    feed_all(bytes)
    local live = testing.alloc_live()
    for _ = 1, 10 do
      feed_all(bytes)
    end
    assert.equal(live, testing.alloc_live())
    feed_all(("$%d\r\n%s\r\n"):format(MEGABYTE, ("x"):rep(MEGABYTE)))
    feed_all("+OK\r\n")
    assert.is_true(testing.alloc_live() <= live)
  end)

  it("takes arrays of seven levels and refuses eight", function()
    local deep = ("*1\r\n"):rep(7) .. ":1\r\n"
    assert.equal(1, #feed_all(deep))
    is_refused("*1\r\n" .. deep, "ELIMIT")
  end)

  it("takes an array of the most elements and refuses one more", function()
    assert.same({}, feed_all("*1048576\r\n"))
    local other <close> = testing.redis.reader()
    local replies, _, name = other:feed("*1048577\r\n")
    assert.is_nil(replies)
    assert.equal("ELIMIT", name)
  end)

  it("takes a string of the most bytes", function()
    local size = 64 * MEGABYTE
    local half = ("x"):rep(size // 2)
    assert.same({}, feed_all(("$%d\r\n"):format(size)))
    assert.same({}, feed_all(half))
    assert.same({}, feed_all(half))
    assert.equal(size, #feed_all("\r\n")[1].value)
  end)

  it("refuses a longer one as soon as it is announced", function()
    is_refused(("$%d\r\n"):format(64 * MEGABYTE + 1), "ELIMIT")
  end)

  it("refuses one that is announced with the largest number", function()
    is_refused("*1\r\n$9223372036854775807\r\n", "ELIMIT")
  end)

  it("refuses a line that does not end", function()
    local replies, name
    for _ = 1, 40 do
      replies, _, name = reader:feed("+" .. ("x"):rep(64 * 1024))
      if not replies then
        break
      end
    end
    assert.equal("ELIMIT", name)
  end)

  it("refuses many strings that are too large together", function()
    local size = 32 * MEGABYTE
    local text = ("$%d\r\n%s\r\n"):format(size, ("x"):rep(size))
    assert.same({}, feed_all("*8\r\n"))
    local replies, name
    for _ = 1, 8 do
      replies, _, name = reader:feed(text)
      if not replies then
        break
      end
    end
    assert.equal("ELIMIT", name)
  end)

  it("refuses what is no RESP, and goes on refusing", function()
    for _, bytes in ipairs { "HTTP/1.1 400 Bad Request\r\n", "\0", "\r\n",
      ":12x\r\n", ":\r\n", "$x\r\n", "$-2\r\n", "*-2\r\n", "*1\r\n?\r\n",
      ":99999999999999999999\r\n" } do
      local other <close> = testing.redis.reader()
      local replies, _, name = other:feed(bytes)
      assert.is_nil(replies, bytes)
      assert.equal("EPROTO", name)
      assert.is_nil((other:feed("+OK\r\n")))
    end
  end)

  it("writes commands", function()
    assert.equal("*1\r\n$4\r\nPING\r\n", testing.redis.command("PING"))
    local long = ("x"):rep(1234)
    assert.equal("*4\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\n\r\n\0\r\n"
      .. "$1234\r\n" .. long .. "\r\n",
      testing.redis.command("SET", "", "\r\n\0", long))
  end)

  it("gives its memory back", function()
    reader:close()
    collectgarbage()
    local live = testing.alloc_live()
    for _, bytes in ipairs { "", stream, "*3\r\n$5\r\nhel", "?", "*8\r\n:1\r\n",
      ("$%d\r\n"):format(MEGABYTE) .. ("x"):rep(MEGABYTE) } do
      local other <close> = testing.redis.reader()
      other:feed(bytes)
    end
    assert.equal(live, testing.alloc_live())
  end)
end)
