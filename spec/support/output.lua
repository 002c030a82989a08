--- How busted reports here: a line a file, failures in full, the sum last.
--
-- The last line is `N passed, N failed`. tools/specs, which adds what it finds
-- after busted has ended, asks for that line in the file TE_SUMMARY instead;
-- until then the file names the spec that runs, for when busted dies in it.

local busted = require("busted")

local marks = { success = ".", pending = "p", failure = "F", error = "E" }

local function full_name(element)
  local names = {}
  while element and element.descriptor ~= "file" do
    table.insert(names, 1, element.name)
    element = busted.parent(element)
  end
  return table.concat(names, " ")
end

local function position(element, trace)
  trace = trace or element.trace
  if not trace or not trace.short_src then
    return element.name or element.descriptor
  end
  return ("%s:%d"):format(trace.short_src, trace.currentline or 0)
end

local function leave_word(text)
  local path = os.getenv("TE_SUMMARY")
  if path then
    local file <close> = assert(io.open(path, "w"))
    file:write(text, "\n")
  end
  return path
end

return function()
  local handler = { passed = 0, failed = 0, pending = {}, failures = {} }

  function handler.file_start(file)
    io.write(file.name, " ")
    handler.file_at = busted.monotime()
    return nil, true
  end

  function handler.file_end()
    io.write((" %.2f s\n"):format(busted.monotime() - handler.file_at))
    io.flush()
    return nil, true
  end

  function handler.test_start(element)
    leave_word(("in %s: %s"):format(position(element), full_name(element)))
    return nil, true
  end

  function handler.test_end(_, _, status)
    io.write(marks[status] or "?")
    io.flush()
    if status == "success" then
      handler.passed = handler.passed + 1
    elseif status ~= "pending" then
      handler.failed = handler.failed + 1
    end
    return nil, true
  end

  function handler.test_pending(element, _, message, trace)
    table.insert(handler.pending, ("PENDING %s: %s\n  %s"):format(
      position(element, trace), full_name(element), tostring(message or "")))
    return nil, true
  end

  function handler.wrong(element, parent, message, trace)
    local name = full_name(element)
    if element.descriptor ~= "it" then -- those are counted when they end
      handler.failed = handler.failed + 1
      io.write(marks.error)
      name = ("%s (%s)"):format(full_name(parent), element.descriptor)
    end
    local text = ("FAILED %s: %s\n%s"):format(
      position(element, trace), name, tostring(message))
    if trace and trace.traceback and trace.traceback ~= "" then
      text = text .. "\n" .. trace.traceback
    end
    table.insert(handler.failures, text)
    return nil, true
  end

  function handler.suite_end()
    for _, text in ipairs(handler.pending) do
      io.write("\n", text, "\n")
    end
    for _, text in ipairs(handler.failures) do
      io.write("\n", text:gsub("%s+$", ""), "\n")
    end
    local sum = ("%d passed, %d failed"):format(handler.passed, handler.failed)
    if not leave_word(sum) then
      print(sum)
    end
    io.flush()
    return nil, true
  end

  function handler.subscribe()
    busted.subscribe({ "file", "start" }, handler.file_start)
    busted.subscribe({ "file", "end" }, handler.file_end)
    busted.subscribe({ "test", "start" }, handler.test_start)
    busted.subscribe({ "test", "end" }, handler.test_end)
    busted.subscribe({ "pending" }, handler.test_pending)
    busted.subscribe({ "failure" }, handler.wrong)
    busted.subscribe({ "error" }, handler.wrong)
    busted.subscribe({ "suite", "end" }, handler.suite_end)
  end

  return handler
end
