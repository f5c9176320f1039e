-- Give leases their full ttl again. ARGV 3...: ids. Answers each one's ttl in milliseconds, 0 if it has ended.
-- Removing nobody is allowed in a full memory, and so is then what follows: leases live on when there is no room.
call('ZREM', E, '')
local ttls = {}
for i = 3, #ARGV do
  local ttl = alive(ARGV[i]) and tonumber(call('HGET', L, ARGV[i])) or 0
  if ttl > 0 then call('ZADD', E, now + ttl + 1, ARGV[i]) end
  ttls[#ttls + 1] = ttl
end
return ttls
