-- Goes between the prelude and a script that is applied at most once.
--
-- KEYS 7     the slot: remembers the last write of one caller, who has no other under way
-- ARGV 3     the write's number within its slot, growing
-- The script returns its answer, one line, through finally().
local slot, number = KEYS[7], tonumber(ARGV[3])

local last = call('GET', slot)
if last then
  local seen, answer = string.match(last, '^(%d+) (.*)$')
  if tonumber(seen) == number then return answer end
  -- Delayed on its way until its caller had given it up and gone on.
  if tonumber(seen) > number then return 'stale' end
end

permit('SET', slot, '', 'PX', 1)

-- A refusal is remembered too: a copy of this write that arrives late must not succeed after it.
local function finally(answer)
  call('SET', slot, ARGV[3] .. ' ' .. answer, 'PX', 3600000)
  return answer
end
