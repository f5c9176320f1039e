-- Ends leases in time, and tells where the store is.
-- Answers {identity, revision, milliseconds until the next lease ends or -1}
local head = call('HMGET', D, '\0id', '\0')
local first = call('ZRANGE', E, 0, 0, 'WITHSCORES')
return {head[1], head[2], first[2] and math.max(0, tonumber(first[2]) - now) or -1}
