-- Some keys and the revision, with no ended lease's key among them. ARGV 3...: the keys.
local answer = call('HMGET', D, unpack(ARGV, 3))
if late then
  for i = 1, #ARGV - 2 do
    if ended(answer[i]) then answer[i] = false end
  end
end
answer[#ARGV - 1] = text(revision)
return answer
