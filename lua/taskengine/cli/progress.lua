--- How far the tasks of a script are: a bar on a terminal, else a line now and
-- then.
--
-- A share and a time left there are when the script seems to have sent all. One
-- that sends more whenever a task ends only has counts to show.
--
-- The bar leaves the cursor at the start of its line, so that whoever else
-- writes there (a worker's warning) writes over it and not behind it.
-- @module taskengine.cli.progress

local progress = {}

local LINE_S <const> = 5 -- between lines where there is no terminal
local WINDOW_S <const> = 5 -- over which the rate is taken
local SAMPLE_S <const> = 0.25
local SETTLED_S <const> = 1 -- without more being sent
local SETTLED_S_MAX <const> = 15
local REDRAW_S <const> = 1 -- what a worker wrote may have taken the bar away
local BAR_COLUMNS_MIN <const> = 10
local WIDTH_MAX <const> = 78

--- A number of seconds for people.
-- @tparam number seconds
-- @treturn string e.g. `"42 s"`, `"3:05"`, `"2:00:09"`
function progress.duration(seconds)
  local s = math.ceil(seconds)
  if s < 60 then
    return ("%d s"):format(s)
  elseif s < 3600 then
    return ("%d:%02d"):format(s // 60, s % 60)
  end
  return ("%d:%02d:%02d"):format(s // 3600, s // 60 % 60, s % 60)
end

local function rate_text(rate)
  return (rate < 10 and "%.1f/s" or "%.0f/s"):format(rate)
end

--- The bar.
-- @tparam int width columns that it may take
-- @tparam int ended tasks
-- @tparam int sent tasks, 1 or more
-- @tparam ?number rate tasks that end in a second; nil while it is not known
-- @treturn string
function progress.bar(width, ended, sent, rate)
  local done = math.min(ended / sent, 1)
  local head = ("%3d%% "):format(math.floor(done * 100))
  local tail = (" %d/%d"):format(ended, sent)
  if rate and rate > 0 then
    tail = ("%s  %s  ETA %s"):format(tail, rate_text(rate),
      progress.duration(math.max(sent - ended, 0) / rate))
  end
  local columns = math.min(width, WIDTH_MAX) - #head - #tail - 2
  if columns < BAR_COLUMNS_MIN then
    return (head .. tail:sub(2)):sub(1, width)
  end
  local full = math.floor(done * columns)
  return ("%s[%s%s]%s"):format(head, ("#"):rep(full), (" "):rep(columns - full),
    tail)
end

--- What there is to say while more is being sent.
-- @tparam int ended tasks
-- @tparam int sent tasks
-- @tparam ?number rate tasks that end in a second
-- @treturn string
function progress.counts(ended, sent, rate)
  local text = ("%d done, %d sent so far"):format(ended, sent)
  return rate and rate > 0 and text .. ", " .. rate_text(rate) or text
end

--- The line where there is no terminal, when all is sent.
-- @tparam int ended tasks
-- @tparam int sent tasks
-- @tparam ?number rate tasks that end in a second
-- @treturn string
function progress.line(ended, sent, rate)
  local text = ("%d of %d tasks done"):format(ended, sent)
  if rate and rate > 0 and sent > ended then
    text = ("%s, %s, about %s left"):format(text, rate_text(rate),
      progress.duration((sent - ended) / rate))
  end
  return text
end

--- What shows the progress.
-- @type Progress
local Progress = {}
Progress.__index = Progress

--- Makes one.
-- @tparam table opts
-- @tparam function opts.write takes a text for the terminal or the file
-- @tparam ?function opts.width returns the terminal's columns; missing where
-- there is no terminal
-- @tparam number opts.now seconds, by any clock
-- @treturn Progress
function progress.new(opts)
  return setmetatable({
    write = opts.write,
    width = opts.width,
    samples = {}, -- of time and number of ended tasks, the oldest first
    line_at = opts.now + LINE_S,
    ended = 0,
    sent = 0,
    sent_at = opts.now, -- the latest of them
    pause = 0, -- the longest between two of them, while tasks were under way
    shown = nil, -- the bar on the screen
    shown_at = nil,
  }, Progress)
end

local function take_sample(self, now, ended)
  local samples = self.samples
  local last = samples[#samples]
  if not last or now - last.at >= SAMPLE_S then
    samples[#samples + 1] = { at = now, ended = ended }
  end
  while #samples > 2 and now - samples[1].at > WINDOW_S do
    table.remove(samples, 1)
  end
end

local function rate_of(self, now, ended)
  local first = self.samples[1]
  if now - first.at >= SAMPLE_S and ended > first.ended then
    return (ended - first.ended) / (now - first.at)
  end
end

local function take_growth(self, now, ended, sent)
  if sent ~= self.sent then
    if self.sent > self.ended then
      self.pause = math.max(self.pause, now - self.sent_at)
    end
    self.sent, self.sent_at = sent, now
  end
  self.ended = ended
end

-- Whether all seems to be sent: it is quiet for longer than it ever was before
-- more came.
local function is_settled(self, now)
  local wanted = math.min(2 * self.pause, SETTLED_S_MAX)
  return now - self.sent_at >= math.max(wanted, SETTLED_S)
end

local function text_for(self, now, width)
  local rate = rate_of(self, now, self.ended)
  if not is_settled(self, now) then
    local text = progress.counts(self.ended, self.sent, rate)
    return width and text:sub(1, width) or text
  elseif width then
    return progress.bar(width, self.ended, self.sent, rate)
  end
  return progress.line(self.ended, self.sent, rate)
end

local function show_bar(self, now, text)
  if text ~= self.shown or now - self.shown_at >= REDRAW_S then
    self.write("\r" .. text .. "\27[K\r")
    self.shown, self.shown_at = text, now
  end
end

--- Shows how far it is, if it is time to do so.
-- @tparam number now
-- @tparam int ended tasks
-- @tparam int sent tasks
function Progress:update(now, ended, sent)
  if sent == 0 then
    return
  end
  take_sample(self, now, ended)
  take_growth(self, now, ended, sent)
  if self.width then
    show_bar(self, now, text_for(self, now, self.width() - 1))
  elseif now >= self.line_at and ended ~= self.line_ended then
    self.line_at, self.line_ended = now + LINE_S, ended
    self.write("taskengine: " .. text_for(self, now) .. "\n")
  end
end

--- Takes the bar off the screen.
function Progress:clear()
  if self.shown then
    self.write("\r\27[K")
    self.shown = nil
  end
end

return progress
