-- Delete the first keys of a prefix as one transaction, or all of them if they are few. At most once.
--
-- ARGV 4, 5  bounds as ZRANGEBYLEX takes them   6: most keys   7: stop after about so many bytes of values
-- Answers one line: "ok REVISION DELETED MORE", where MORE is 1 if keys are left; or "stale".
local most, room = tonumber(ARGV[6]), tonumber(ARGV[7])
local names = call('ZRANGEBYLEX', Z, ARGV[4], ARGV[5], 'LIMIT', 0, most + 1)
if late then
  for i = 1, #names, 50 do
    for _, packed in ipairs(call('HMGET', D, unpack(names, i, math.min(i + 49, #names)))) do ended(packed) end
  end
  names = call('ZRANGEBYLEX', Z, ARGV[4], ARGV[5], 'LIMIT', 0, most + 1)
end
local found, detached = math.min(#names, most), {}

-- Only the records tell which keys are on a lease.
if call('ZRANGE', H, 0, 0)[1] then
  local looked = 0
  while looked < found and room > 0 do
    local last = math.min(looked + 50, found)
    for i, packed in ipairs(call('HMGET', D, unpack(names, looked + 1, last))) do
      local held = packed and string.byte(packed, 17) or 0
      if held > 0 then detached[#detached + 1] = string.sub(packed, 18, 17 + held) .. names[looked + i] end
      room = room - (packed and #packed or 0)
    end
    looked = last
  end
  found = looked
end

local more = #names > found and ' 1' or ' 0'
for i = #names, found + 1, -1 do names[i] = nil end
if found == 0 then return finally('ok ' .. text(revision) .. ' 0' .. more) end

permit_entry()
permit_taking_out()
if #detached > 0 then permit('ZREM', H, '') end

-- Deletes free memory, so they come first and are let through where the memory is full.
remove('HDEL', D, names)
remove('ZREM', Z, names)
remove('ZREM', H, detached)
local gone = table.concat(names, '\0')
append(following(), #gone, {'d', gone})
call('HSET', D, '\0', text(revision), '\0op', head)
return finally('ok ' .. text(revision) .. ' ' .. found .. more)
