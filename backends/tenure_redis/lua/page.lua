-- Part of a prefix, in byte order, as it is now.
-- ARGV 3, 4  bounds as ZRANGEBYLEX takes them   5: most keys   6: stop at about so many bytes   7: 1 without values
-- Answers {revision, 1 if there are more keys, {key, ...}, {record, ...}, ...}: the records of all keys, in parts
local most, room, bare = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local names, parts, more

-- Leave out the keys of leases that have ended. One that isn't there was on a lease that an earlier key has ended.
local function without_ended()
  local alive, kept, at = {}, {}, 0
  for _, found in ipairs(parts) do
    for _, packed in ipairs(found) do
      at = at + 1
      if packed and not ended(packed) then
        alive[#alive + 1] = names[at]
        kept[#kept + 1] = packed
      end
    end
  end
  names, parts = alive, {kept}
end

repeat
  names, parts = call('ZRANGEBYLEX', Z, ARGV[3], ARGV[4], 'LIMIT', 0, most + 1), {}
  more = #names > most
  if more then names[#names] = nil end
  local count = #names
  for i = 1, count, 50 do
    local last = math.min(i + 49, count)
    local found = call('HMGET', D, unpack(names, i, last))
    parts[#parts + 1] = found
    for j = 1, #found do
      local packed = found[j]
      if packed then
        room = room - #packed
        if bare and #packed >= 17 then found[j] = string.sub(packed, 1, 17 + string.byte(packed, 17)) end
      end
    end
    if room < 0 and last < count then
      more = true
      for k = count, last + 1, -1 do names[k] = nil end
      break
    end
  end
  if late then without_ended() end
until #names > 0 or not more
return {text(revision), more and 1 or 0, names, unpack(parts)}
