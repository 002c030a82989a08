local moment = require("taskengine.moment")

describe("taskengine.moment", function()
  it("reads dates and times with a zone", function()
    for text, seconds in pairs {
      ["1970-01-01T00:00:00Z"] = 0,
      ["1970-01-01 00:00Z"] = 0,
      ["2000-02-29T12:00:00+00:00"] = 951825600,
      ["2026-03-01T08:30:00+01:00"] = 1772350200,
      ["2026-03-01T08:30:00 +0100"] = 1772350200,
      ["2026-02-28t23:30:00.25-08"] = 1772350200.25,
      ["2024-12-31T23:59:59,5z"] = 1735689599.5,
      ["9999-12-31T23:59:59Z"] = 253402300799,
    } do
      assert.equal(seconds, moment.parse(text), text)
    end
  end)

  it("agrees with os.time on every day of many years", function()
    for day = 0, 365 * 140, 17 do
      local seconds = day * 86400
      assert.equal(seconds,
        moment.parse(os.date("!%Y-%m-%dT%H:%M:%SZ", seconds)))
    end
  end)

  it("refuses what is none or has no zone", function()
    for _, text in ipairs {
      "", "tomorrow", "2026-03-01", "2026-03-01T08:30:00", "08:30:00Z",
      "2026-3-1T08:30:00Z", "2026-13-01T08:30:00Z", "2026-00-01T08:30:00Z",
      "2026-02-29T08:30:00Z", "1900-02-29T08:30:00Z", "2026-04-31T08:30:00Z",
      "2026-03-00T08:30:00Z", "2026-03-01T24:00:00Z", "2026-03-01T08:60:00Z",
      "2026-03-01T08:30:60Z", "2026-03-01T08:30:5Z", "2026-03-01T08Z",
      "2026-03-01T08:30:00+24:00", "2026-03-01T08:30:00+01:60",
      "2026-03-01T08:30:00+1", "2026-03-01T08:30:00Zulu",
      "2026-03-01T08:30:00.Z", "2026-03-01T08:30:00+:", " 2026-03-01T08:30Z",
    } do
      assert.is_nil(moment.parse(text), text)
    end
  end)

  it("takes seconds as they are, within reason", function()
    assert.equal(1.5, moment.seconds(1.5))
    assert.equal(0, moment.seconds("1970-01-01T00:00Z"))
    for _, value in ipairs { -1, 0 / 0, math.huge, 253402300800, true, {},
      "1969-12-31T00:00Z", "12" } do
      assert.is_nil(moment.seconds(value), tostring(value))
    end
  end)
end)
