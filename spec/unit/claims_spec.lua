local core = require("taskengine.core")
local script = require("spec.support.script")

local claims = core.testing.claims
local clock = core.testing

local MAX <const> = claims.MAX
local RECORD_BYTES_MAX <const> = 208

local function field(n)
  return ("%020d"):format(n) .. string.pack(">I4", n)
end

describe("claims", function()
  local folder, path

  before_each(function()
    folder = script.folder {}
    path = folder.dir .. "/own.claims"
  end)

  after_each(function()
    clock.clock_set_fake(nil)
    getmetatable(folder).__close()
  end)

  local function files()
    local out <close> = io.popen(("ls '%s'"):format(folder.dir))
    return out:read("a")
  end

  describe("of a master and a child", function()
    local master, child

    before_each(function()
      master = assert(claims.create(nil))
      child = assert(master:attach())
    end)

    after_each(function()
      child:close()
      master:close()
    end)

    it("let a child take what was offered, once", function()
      local token = master:offer(field(1))
      assert.equal(MAX - 1, master:free_count())
      assert.is_true(child:take(token))
      assert.is_false(child:take(token))
      assert.is_false(master:withdraw(token))
    end)

    it("let a master withdraw what was not taken", function()
      local token = master:offer(field(1))
      assert.is_true(master:withdraw(token))
      assert.equal(MAX, master:free_count())
      assert.is_false(child:take(token))
    end)

    it("are decided one way or the other, whoever comes first", function()
      for n = 1, 1000 do
        local token = master:offer(field(n))
        local first, second = child, master
        if n % 2 == 0 then
          first, second = master, child
        end
        local name = { [child] = "take", [master] = "withdraw" }
        assert.is_true(first[name[first]](first, token))
        assert.is_false(second[name[second]](second, token))
        if first == child then
          master:clear(token)
        end
      end
      assert.equal(MAX, master:free_count())
    end)

    it("are new each time they are used again", function()
      local stale = master:offer(field(1))
      assert.is_true(master:withdraw(stale))
      local token = master:offer(field(2))
      assert.equal(stale & 0xffffffff, token & 0xffffffff)
      assert.not_equal(stale, token)
      assert.is_false(child:take(stale))
      assert.is_true(child:take(token))
    end)

    it("keep their time when a child comes too late for another", function()
      clock.clock_set_fake { us = 5000000 }
      local stale = master:offer(field(1))
      master:withdraw(stale)
      local token = master:offer(field(2))
      child:take(token)
      clock.clock_set_fake { us = 9000000 }
      assert.is_false(child:take(stale))
      assert.equal(5000, master:taken_at(token))
    end)

    it("tell when they were taken, until they end", function()
      clock.clock_set_fake { us = 1234567 }
      local token = master:offer(field(1))
      assert.equal(0, master:taken_at(token))
      child:take(token)
      assert.equal(1234, master:taken_at(token))
      child:finish(token, "S\1")
      assert.equal(0, master:taken_at(token))
    end)

    it("ask only what was taken to end, for as long as it runs", function()
      local token = master:offer(field(1))
      master:ask(token)
      assert.is_false(child:is_asked(token))
      assert.is_true(child:take(token))
      assert.is_false(child:is_asked(token))
      master:ask(token)
      assert.is_true(child:is_asked(token))
      child:finish(token, "S\1")
      assert.is_false(child:is_asked(token))
      master:ask(token)
      assert.is_false(child:is_asked(token))
      master:clear(token)
      local next_one = master:offer(field(2))
      child:take(next_one)
      assert.is_false(child:is_asked(next_one))
    end)

    it("have begun what is asked, as what is not", function()
      clock.clock_set_fake { us = 1234567 }
      local token = master:offer(field(1))
      child:take(token)
      master:ask(token)
      assert.equal(1234, master:taken_at(token))
      assert.same({ [field(1)] = "" }, master:begun())
      assert.is_false(master:withdraw(token))
      assert.is_true(child:finish(token, "S\1"))
      assert.same({ [field(1)] = "S\1" }, master:begun())
    end)

    it("hold the outcome until it is cleared", function()
      local token = master:offer(field(1))
      child:take(token)
      assert.is_nil(master:outcome(token))
      assert.is_true(child:finish(token, "S\1"))
      assert.equal("S\1", master:outcome(token))
      master:clear(token)
      assert.is_nil(master:outcome(token))
      assert.equal(MAX, master:free_count())
    end)

    it("hold outcomes up to their size, and no longer ones", function()
      local token = master:offer(field(1))
      child:take(token)
      assert.is_false(child:finish(token, ("x"):rep(RECORD_BYTES_MAX + 1)))
      assert.is_nil(master:outcome(token))
      assert.same({ [field(1)] = "" }, master:begun())
      local longest = ("x"):rep(RECORD_BYTES_MAX)
      assert.is_true(child:finish(token, longest))
      assert.equal(longest, master:outcome(token))
    end)

    it("hold a verdict that is too long without its outcome", function()
      local token = master:offer(field(1))
      child:take(token)
      local head = string.pack(">I8Bs4", 700, 1, "body")
      local outcome = "F\x81\xa4kind\xda\x01\x00" .. ("k"):rep(256)
      assert.is_true(child:leave(token, "T" .. head .. "F\x80"))
      assert.equal("T" .. head .. "F\x80", master:outcome(token))
      assert.is_false(child:leave(token, "T" .. head .. outcome))
      assert.equal("t" .. head, master:outcome(token))
    end)

    it("hold no verdict whose body is too long", function()
      local token = master:offer(field(1))
      child:take(token)
      assert.is_false(child:leave(token,
        "T" .. string.pack(">I8Bs4", 700, 1, ("x"):rep(RECORD_BYTES_MAX - 13))))
      assert.is_nil(master:outcome(token))
      assert.is_false(child:leave(token, "S" .. ("x"):rep(RECORD_BYTES_MAX)))
      assert.is_nil(master:outcome(token))
    end)

    it("hold a will as long as their task runs", function()
      local token = master:offer(field(1))
      child:bequeath(token, "too early")
      child:take(token)
      assert.is_nil(master:will(token))
      child:bequeath(token, ("x"):rep(RECORD_BYTES_MAX + 1))
      assert.is_nil(master:will(token))
      child:bequeath(token, "will")
      assert.equal("will", master:will(token))
      assert.is_nil(master:outcome(token))
      assert.same({ [field(1)] = "" }, master:begun())
      child:finish(token, "S\1")
      assert.is_nil(master:will(token))
      master:clear(token)
      token = master:offer(field(2))
      child:take(token)
      assert.is_nil(master:will(token))
    end)

    it("hold no will of a task that was asked to end", function()
      local token = master:offer(field(1))
      child:take(token)
      child:bequeath(token, "will")
      master:ask(token)
      assert.is_nil(master:will(token))
    end)

    it("name what a child executes", function()
      local first, second = master:offer(field(1)), master:offer(field(2))
      assert.same({ false, false }, { master:is_executing(3, first) })
      child:execute(3, first)
      assert.same({ true, true }, { master:is_executing(3, first) })
      assert.same({ false, true }, { master:is_executing(3, second) })
      assert.same({ false, false }, { master:is_executing(2, first) })
      child:execute(3, nil)
      assert.same({ false, false }, { master:is_executing(3, first) })
    end)

    it("are as many as they say", function()
      local tokens = {}
      for n = 1, MAX do
        tokens[n] = master:offer(field(n))
        child:take(tokens[n])
      end
      assert.equal(0, master:free_count())
      for _, token in ipairs(tokens) do
        master:clear(token)
      end
      assert.equal(MAX, master:free_count())
    end)

    it("refuse tokens that no master gave", function()
      for _, token in ipairs { MAX, 0xffffffff, -1, math.maxinteger } do
        assert.is_false(child:take(token))
        assert.is_false(child:finish(token, "S"))
      end
    end)
  end)

  it("are no child's when they are not whole", function()
    local master <close> = assert(claims.create(path))
    os.execute(("truncate -s 0 '%s'"):format(path))
    local got, _, code = master:attach()
    assert.same({ nil, "EMALFORMED" }, { got, code })
  end)

  it("cannot be opened while their master lives", function()
    local master <close> = assert(claims.create(path))
    master:set_owner("AbcdefGHI012")
    local got, _, code = claims.open_dead(path)
    assert.is_nil(got)
    assert.equal("EBUSY", code)
    assert.equal("own.claims\n", files())
  end)

  it("cannot be opened while a child of a dead master lives", function()
    local master = assert(claims.create(path))
    local child = assert(master:attach())
    master:keep_file()
    master:close()
    assert.equal("EBUSY", select(3, claims.open_dead(path)))
    child:close()
    local _ <close> = assert(claims.open_dead(path))
    assert.equal("EBUSY", select(3, claims.open_dead(path)))
  end)

  it("tell an heir what had begun, and how it had ended", function()
    local master = assert(claims.create(path))
    master:set_owner("AbcdefGHI012")
    local child = assert(master:attach())
    local tokens = {}
    for n = 1, 6 do
      tokens[n] = master:offer(field(n))
    end
    child:take(tokens[2])
    child:take(tokens[3])
    child:finish(tokens[3], "S\xc0")
    child:take(tokens[4])
    child:finish(tokens[4], ("x"):rep(RECORD_BYTES_MAX + 1))
    child:take(tokens[5])
    master:clear(tokens[5])
    master:withdraw(tokens[6])
    child:close()
    master:keep_file()
    master:close()

    local dead <close> = assert(claims.open_dead(path))
    assert.equal("AbcdefGHI012", dead:owner())
    assert.same({
      [field(2)] = "", [field(3)] = "S\xc0", [field(4)] = "",
    }, dead:begun())
  end)

  it("tell an heir what their master served", function()
    local function left_behind(service)
      local master = assert(claims.create(path))
      if service then
        master:set_service(service)
      end
      master:keep_file()
      master:close()
      return assert(claims.open_dead(path))
    end
    local mine, other = "0123456789abcdef", "0123456789abcdeF"
    local dead <close> = left_behind(mine)
    assert.same({ true, false }, { dead:serve(mine), dead:serve(other) })
    dead:close()
    -- It had not come so far: it has nothing that anybody would miss.
    local young <close> = left_behind(nil)
    assert.same({ true, true }, { young:serve(mine), young:serve(other) })
  end)

  it("are gone when they are closed, of a dead master too", function()
    local master = assert(claims.create(path))
    assert.equal("own.claims\n", files())
    master:close()
    assert.equal("", files())
    master = assert(claims.create(path))
    master:keep_file()
    master:close()
    assert(claims.open_dead(path)):close()
    assert.equal("", files())
    assert.equal("ENOENT", select(3, claims.open_dead(path)))
  end)

  it("stay when an heir could not tell of them", function()
    local master = assert(claims.create(path))
    master:keep_file()
    master:close()
    local dead = assert(claims.open_dead(path))
    dead:keep_file()
    dead:close()
    assert.equal("own.claims\n", files())
  end)

  it("remove a file that is none", function()
    local whole <close> = assert(claims.create(path))
    local size = core.sys.stat(path).size
    whole:close()
    for _, text in ipairs { "", "x", ("\0"):rep(size) } do
      local file <close> = assert(io.open(path, "wb"))
      file:write(text)
      file:flush()
      assert.equal("EMALFORMED", select(3, claims.open_dead(path)))
      assert.equal("", files())
    end
  end)

  it("follow no link", function()
    assert(os.execute(("ln -s /etc/hostname '%s'"):format(path)))
    assert.equal("ELOOP", select(3, claims.open_dead(path)))
    os.remove(path)
    assert(os.execute(("ln -s /nowhere '%s.new'"):format(path)))
    assert.equal("EEXIST", select(3, claims.create(path)))
  end)

  it("leave alone what is no file, and do not wait for it", function()
    assert(os.execute(("mkfifo '%s'"):format(path)))
    assert.equal("EINVAL", select(3, claims.open_dead(path)))
    assert.equal("EINVAL", select(3, claims.sweep_draft(path)))
    assert(core.sys.mkdir_p(folder.dir .. "/sub.claims"))
    assert.equal("EISDIR",
      select(3, claims.open_dead(folder.dir .. "/sub.claims")))
    assert.equal("own.claims\nsub.claims\n", files())
  end)

  describe("that are not whole yet", function()
    local draft

    before_each(function()
      draft = path .. ".new"
    end)

    it("are swept when nobody locks them", function()
      local file <close> = assert(io.open(draft, "wb"))
      file:close()
      assert.is_true(claims.sweep_draft(draft))
      assert.equal("", files())
      assert.equal("ENOENT", select(3, claims.sweep_draft(draft)))
    end)

    it("are left to a master that lives", function()
      local master <close> = assert(claims.create(path))
      assert(os.rename(path, draft))
      assert.equal("EBUSY", select(3, claims.sweep_draft(draft)))
      assert.equal("own.claims.new\n", files())
      master:keep_file()
      master:close()
      assert.is_true(claims.sweep_draft(draft))
      assert.equal("", files())
    end)
  end)

  it("cannot be made where no file can be", function()
    assert.equal("ENOENT", select(3, claims.create(folder.dir .. "/no/x")))
    assert.equal("ENAMETOOLONG",
      select(3, claims.create(folder.dir .. ("/x"):rep(5000))))
  end)

  it("leak nothing", function()
    collectgarbage()
    local live = clock.alloc_live()
    for _ = 1, 10 do
      local master <close> = assert(claims.create(path))
      local child <close> = assert(master:attach())
      child:take(master:offer(field(1)))
      assert.is_nil((claims.open_dead(path)))
    end
    collectgarbage()
    assert.equal(live, clock.alloc_live())
  end)
end)
