-- Part of a prefix, in byte order, as it is now.
-- ARGV 3, 4  bounds as ZRANGEBYLEX takes them   5: most keys   6: stop at about so many bytes   7: 1 without values
-- Answers {revision, 1 if there are more keys, key, record, key, record, ...}
local most, room, bare = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local names = call('ZRANGEBYLEX', Z, ARGV[3], ARGV[4], 'LIMIT', 0, most + 1)
local answer = {text(revision), #names > most and 1 or 0}
local count = math.min(#names, most)
for i = 1, count, 50 do
  local last = math.min(i + 49, count)
  for j, packed in ipairs(call('HMGET', D, unpack(names, i, last))) do
    room = room - (packed and #packed or 0)
    if bare and packed then packed = string.sub(packed, 1, 17 + string.byte(packed, 17)) end
    answer[#answer + 1] = names[i + j - 1]
    answer[#answer + 1] = packed
  end
  if room < 0 and last < count then
    answer[2] = 1
    break
  end
end
return answer
