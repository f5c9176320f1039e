-- Leases with their keys. ARGV 3: an id, or '' for all. Answers {id, ttl, remaining, {keys}} of each, times in ms.
local found = {}
local function describe(lease, deadline)
  local ttl = call('HGET', L, lease)
  if not ttl or deadline <= now then return end
  local names = {}
  for i, member in ipairs(call('ZRANGEBYLEX', H, '[' .. lease, '(' .. lease .. '\255')) do
    names[i] = string.sub(member, #lease + 1)
  end
  found[#found + 1] = {lease, tonumber(ttl), deadline - now, names}
end
if ARGV[3] == '' then
  local all = call('ZRANGE', E, 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do describe(all[i], tonumber(all[i + 1])) end
else
  local deadline = call('ZSCORE', E, ARGV[3])
  if deadline then describe(ARGV[3], tonumber(deadline)) end
end
return found
