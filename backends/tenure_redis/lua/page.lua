-- Part of a prefix, in byte order, as it is now.
-- ARGV 3, 4  bounds as ZRANGEBYLEX takes them   5: most keys   6: stop at about so many bytes   7: 1 without values
-- Answers {revision, 1 if there are more keys, key, record, key, record, ...}
local most, room, bare = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local answer
repeat
  local names = call('ZRANGEBYLEX', Z, ARGV[3], ARGV[4], 'LIMIT', 0, most + 1)
  local count = math.min(#names, most)
  answer = {'', #names > most and 1 or 0}
  for i = 1, count, 50 do
    local last = math.min(i + 49, count)
    for j, packed in ipairs(call('HMGET', D, unpack(names, i, last))) do
      -- One that isn't there was on a lease that an earlier key has ended.
      if not (late and (not packed or ended(packed))) then
        room = room - (packed and #packed or 0)
        if bare and packed and #packed >= 17 then packed = string.sub(packed, 1, 17 + string.byte(packed, 17)) end
        answer[#answer + 1] = names[i + j - 1]
        answer[#answer + 1] = packed
      end
    end
    if room < 0 and last < count then
      answer[2] = 1
      break
    end
  end
until #answer > 2 or answer[2] == 0
answer[1] = text(revision)
return answer
