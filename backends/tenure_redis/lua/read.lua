-- Some keys and the revision, with no ended lease's key among them. ARGV 3...: the keys.
local answer = call('HMGET', D, unpack(ARGV, 3))
answer[#answer + 1] = text(revision)
return answer
