-- Ends leases in time, and tells where the store is.
-- Answers {revision, milliseconds until the next lease ends or -1}
local first = call('ZRANGE', E, 0, 0, 'WITHSCORES')
return {text(revision), first[2] and math.max(0, tonumber(first[2]) - now) or -1}
