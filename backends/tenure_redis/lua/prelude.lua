-- Goes in front of every script: opens the store, tells the time, ends the leases whose time has come.
--
-- KEYS   data, keys, log, leases, expiry, held (see layout.py), and for a commit the caller's slot
-- ARGV   1: an id no other run has   2: revisions to keep in the log   then the script's own
--
-- The fields '\0', '\0op' and '\0id' of the data hash are the revision, the run that made it and the store's identity.
-- Keys have no NUL, so no key is ever mistaken for them.
-- A revision is a whole number below 2^53, exact as a Lua number but not in Lua's own idea of its text: use text().
local D, Z, S, L, E, H = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local call = redis.call
local op, keep = ARGV[1], ARGV[2]
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local CHUNK = 1000

local function text(number) return string.format('%.0f', number) end

-- Remove members or fields; more than a few thousand arguments at once overflow Lua's stack.
local function remove(command, from, names)
  for i = 1, #names, CHUNK do call(command, from, unpack(names, i, math.min(i + CHUNK - 1, #names))) end
end

local revision = tonumber(call('HGET', D, '\0') or nil)
if not revision then
  -- An empty store. Its revisions begin at the time in microseconds, so that they go on growing where
  -- an earlier store under this name was lost. What is left of that one has lost its meaning.
  call('DEL', Z, S, L, E, H)
  revision = time[1] * 1000000 + time[2]
  call('XADD', S, text(revision) .. '-0', 'op', op)
  call('HSET', D, '\0', text(revision), '\0op', op, '\0id', op)
end

-- End one lease: it goes, and its keys at a revision of their own. Begins with a command that is allowed in a full
-- memory; the ones after it then are, too.
local function finish(lease)
  call('ZREM', E, lease)
  call('HDEL', L, lease)
  local members = call('ZRANGEBYLEX', H, '[' .. lease, '(' .. lease .. '\255')
  if #members == 0 then return 0 end
  local names = {}
  for i, member in ipairs(members) do names[i] = string.sub(member, #lease + 1) end
  revision = revision + 1
  call('XADD', S, 'MAXLEN', '~', keep, text(revision) .. '-0', 'op', op, 'd', table.concat(names, '\0'))
  call('HSET', D, '\0', text(revision), '\0op', op)
  remove('HDEL', D, names)
  remove('ZREM', Z, names)
  remove('ZREM', H, members)
  return #names
end

-- The server does nothing else meanwhile, so not all at once; whoever is left counts as ended all the same.
local left = 2000
for _, lease in ipairs(call('ZRANGEBYSCORE', E, '-inf', now, 'LIMIT', 0, 100)) do
  left = left - 10 - finish(lease)
  if left < 0 then break end
end

local function alive(lease)
  local deadline = call('ZSCORE', E, lease)
  return deadline and tonumber(deadline) > now
end
