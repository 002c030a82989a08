--- Counting words in the plainest way, to check the fast one; and texts.
-- @module spec.support.words

local words = {}

--- What `uniq -c` says of the words of texts, none of which goes on in the
-- next one.
-- @tparam {string,...} texts
-- @treturn string
function words.counted(texts)
  local counts, list = {}, {}
  for _, text in ipairs(texts) do
    for word in text:gmatch("[^ \t\n\v\f\r]+") do
      if not counts[word] then
        counts[word] = 0
        list[#list + 1] = word
      end
      counts[word] = counts[word] + 1
    end
  end
  os.setlocale("C", "collate") -- by bytes, as strings are compared then
  table.sort(list)
  for i, word in ipairs(list) do
    list[i] = ("%7d %s\n"):format(counts[word], word)
  end
  return table.concat(list)
end

--- A text made of some pieces, in any order.
-- @tparam {string,...} pieces
-- @tparam int count of them
-- @treturn string
function words.shuffled(pieces, count)
  local list = {}
  for i = 1, count do
    list[i] = pieces[math.random(#pieces)]
  end
  return table.concat(list)
end

--- Text like that of people: some words are frequent, most are rare.
-- @tparam int vocabulary how many words there are
-- @tparam int bytes about as many are written
-- @tparam file file open for writing
function words.write(vocabulary, bytes, file)
  local known, lines = {}, {}
  for i = 1, vocabulary do
    known[i] = ("%x"):format(i * 2654435761 % 2 ^ math.random(4, 40) | 0)
  end
  for i = 1, 20000 do
    local line = {}
    for k = 1, math.random(0, 20) do
      line[k] = known[vocabulary ^ math.random() // 1 | 0]
    end
    lines[i] = table.concat(line, " ") .. "\n"
  end
  while bytes > 0 do
    local text = words.shuffled(lines, 500)
    assert(file:write(text))
    bytes = bytes - #text
  end
end

return words
