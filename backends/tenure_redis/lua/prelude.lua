-- Goes in front of every script: opens the store, tells the time, ends the leases whose time has come.
--
-- KEYS   data, keys, log, leases, expiry, held (see keys.py), and for a write at most once the caller's slot
-- ARGV   1: an id no other run has   2: revisions to keep in the log, a space and the run id of this server, which may be
--        missing   then the script's own
--
-- Fields of the data hash that begin with NUL are the store's own, since keys have no NUL: '\0' is the revision, '\0op' the
-- head of its entry in the log, '\0id' the store's identity, '\0server' the run id of the server whose clock the leases'
-- deadlines are times of, and '\0late' is there while leases are left that have to be ended. A member '\0' of held and a
-- field '' of leases are always there, so that a key of Redis that an operator has removed is noticed.
-- A revision is a whole number below 2^53, exact as a Lua number but not in Lua's own idea of its text: use text().
local D, Z, S, L, E, H = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local call = redis.call
local keep, server = string.match(ARGV[2], '^(%d+) ?(.*)$')
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local CHUNK = 1000
local ENDED_AT_ONCE, KEYS_AT_ONCE = 500, 10000
local LOG_BYTES, LOG_STEP = 67108864, 4194304

local function text(number) return string.format('%.0f', number) end

-- Remove members or fields; more than a few thousand arguments at once overflow Lua's stack.
local function remove(command, from, names)
  for i = 1, #names, CHUNK do call(command, from, unpack(names, i, math.min(i + CHUNK - 1, #names))) end
end

-- Refuse a command before the script's first write: a script that is refused half way isn't rolled back. The arguments
-- are those of a call, since rights may differ by key.
local function permit(...)
  if not redis.acl_check_cmd(...) then
    error({err = 'NOPERM this user has no permissions to run the \'' .. string.lower((...)) .. '\' command'})
  end
end

-- What an entry of the log and the revision need.
local function permit_entry()
  permit('XRANGE', S, '-', '+')
  permit('XADD', S, '*', 'op', '')
  permit('HSET', D, '\0', '')
end

local function permit_taking_out()
  permit('HDEL', D, '')
  permit('ZREM', Z, '')
end

local state = call('HMGET', D, '\0', '\0op', '\0server', '\0late')
local revision, head = tonumber(state[1] or nil), state[2] or ''

-- The next revision: microseconds of the clock, and in any case above the last one. A store that was restored or took
-- over from another server so never uses a revision again that it had lost. A clock beyond the year 2112 is ignored.
local function following()
  local by_clock = time[1] * 1000000 + time[2]
  if by_clock >= 4503599627370496 then by_clock = 0 end
  return math.max((revision or 0) + 1, by_clock)
end

if not revision then
  -- An empty store, which begins with an entry that follows itself. What is left of an earlier store under this name
  -- has lost its meaning.
  permit('DEL', Z, S, L, E, H)
  permit_entry()
  call('DEL', Z, S, L, E, H)
  revision = following()
  head = text(revision) .. ' 0 1'
  call('XADD', S, text(revision) .. '-0', 'op', head)
  call('HSET', D, '\0', text(revision), '\0op', head, '\0id', ARGV[1])
  call('ZADD', H, 0, '\0')
  call('HSET', L, '', '0')
end

-- How much of the log to keep: half of it where it has outgrown LOG_BYTES. That is looked at once in LOG_STEP bytes.
local function bounds(total, number, size)
  if math.floor(total / LOG_STEP) == math.floor((total - size) / LOG_STEP) then return '~', keep end
  local first = call('XRANGE', S, '-', '+', 'COUNT', 1)[1]
  local before, oldest = string.match(first and first[2] and first[2][2] or '', '^%d+ (%d+) (%d+)$')
  before, oldest = tonumber(before or nil) or 0, tonumber(oldest or nil) or 0
  if before > total or oldest > number then before, oldest = 0, 0 end
  if total - before <= LOG_BYTES then return '~', keep end
  return '=', text(math.max(1, math.min(math.floor((number - oldest) / 2), tonumber(keep))))
end

-- Add an entry of `size` bytes to the log and make `at` the store's revision. The entry's head is: the revision that it
-- follows, the bytes and the number of all entries up to it. Older versions wrote another head and revisions without
-- gaps. `HSET` of the head and the revision is left to the caller, who has more to set.
local function append(at, size, fields)
  local total, number = string.match(head, '^%d+ (%d+) (%d+)$')
  total, number = (tonumber(total or nil) or 0) + size, (tonumber(number or nil) or 0) + 1
  head = text(revision) .. ' ' .. text(total) .. ' ' .. text(number)
  local how, most = bounds(total, number, size)
  call('XADD', S, 'MAXLEN', how, most, text(at) .. '-0', 'op', head, unpack(fields))
  revision = at
end

-- End one lease: it goes, and its keys at a revision of their own. Begins with a command that is allowed in a full
-- memory; the ones after it then are, too.
local may_finish = false
local function finish(lease)
  if not may_finish then
    permit('ZREM', E, '')
    permit('HDEL', L, '')
    permit('ZRANGEBYLEX', H, '-', '+')
    permit_entry()
    permit_taking_out()
    permit('ZREM', H, '')
    may_finish = true
  end
  call('ZREM', E, lease)
  call('HDEL', L, lease)
  local members = call('ZRANGEBYLEX', H, '[' .. lease, '(' .. lease .. '\255')
  if #members == 0 then return 0 end
  local names = {}
  for i, member in ipairs(members) do names[i] = string.sub(member, #lease + 1) end
  local gone = table.concat(names, '\0')
  append(following(), #gone, {'d', gone})
  call('HSET', D, '\0', text(revision), '\0op', head)
  remove('HDEL', D, names)
  remove('ZREM', Z, names)
  remove('ZREM', H, members)
  return #names
end

-- A deadline is a time of one server's clock. When another server answers, or the same one after a restart, every lease
-- gets its full ttl again: so no difference between clocks ends one early. Data of an older program name no server: those
-- are taken for this one's, as that program took them. Removing nobody is allowed in a full memory, and so is then what
-- follows.
if server ~= '' and server ~= state[3] then
  call('ZREM', E, '')
  if state[3] then
    local leases = call('ZRANGE', E, 0, -1)
    for i = 1, #leases, CHUNK do
      local last = math.min(i + CHUNK - 1, #leases)
      for j, ttl in ipairs(call('HMGET', L, unpack(leases, i, last))) do
        if ttl then call('ZADD', E, now + tonumber(ttl) + 1, leases[i + j - 1]) end
      end
    end
  end
  call('HSET', D, '\0server', server)
end

-- What follows puts right what an operator or Redis's eviction has removed: a key of Redis, or a part of it. The data say
-- what is there. Keys that they no longer have are told to watches as deleted, and leases that aren't known whole end.
local function each_page(visit)
  local from = '-'
  repeat
    local names = call('ZRANGEBYLEX', Z, from, '+', 'LIMIT', 0, 50)
    if #names > 0 then
      visit(names, call('HMGET', D, unpack(names)))
      from = '(' .. names[#names]
    end
  until #names < 50
end

local function mend_keys()
  permit('HSCAN', D, '0')
  permit('ZADD', Z, 0, '')
  permit_entry()
  permit_taking_out()
  local gone = {}
  each_page(function(names, found)
    for i, packed in ipairs(found) do
      if not packed then gone[#gone + 1] = names[i] end
    end
  end)
  if #gone > 0 then
    remove('ZREM', Z, gone)
    local text_of_all = table.concat(gone, '\0')
    append(following(), #text_of_all, {'d', text_of_all})
    call('HSET', D, '\0', text(revision), '\0op', head)
  end
  call('ZREM', Z, '')
  local cursor = '0'
  repeat
    local page = call('HSCAN', D, cursor, 'COUNT', 200)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      if string.byte(page[2][i], 1) ~= 0 then call('ZADD', Z, 0, page[2][i]) end
    end
  until cursor == '0'
end

local function mend_leases()
  permit('ZREM', E, '')
  permit('HDEL', L, '')
  permit('HSET', L, '', '')
  permit('HSCAN', L, '0')
  permit('DEL', H)
  permit('ZADD', H, 0, '')
  call('ZREM', E, '')
  local known = {}
  for _, lease in ipairs(call('ZRANGE', E, 0, -1)) do
    if call('HGET', L, lease) then known[lease] = true else call('ZREM', E, lease) end
  end
  local cursor = '0'
  repeat
    local page = call('HSCAN', L, cursor, 'COUNT', 200)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      if not known[page[2][i]] then call('HDEL', L, page[2][i]) end
    end
  until cursor == '0'
  call('HSET', L, '', '0')
  call('DEL', H)
  call('ZADD', H, 0, '\0')
  local ended = {}
  each_page(function(names, found)
    for i, packed in ipairs(found) do
      local held = packed and string.byte(packed, 17) or 0
      if held > 0 then
        local lease = string.sub(packed, 18, 17 + held)
        call('ZADD', H, 0, lease .. names[i])
        if not known[lease] then ended[lease] = true end
      end
    end
  end)
  for lease in pairs(ended) do finish(lease) end
end

local own = 2 + (head ~= '' and 1 or 0) + ((server ~= '' or state[3]) and 1 or 0) + (state[4] and 1 or 0)
if call('HLEN', D) - own ~= call('ZCARD', Z) then mend_keys() end
if call('HLEN', L) - 1 ~= call('ZCARD', E) or not call('ZSCORE', H, '\0') then mend_leases() end

-- The server does nothing else meanwhile, so not all at once; whoever is left counts as ended all the same.
local left, late = KEYS_AT_ONCE, false
for i, lease in ipairs(call('ZRANGEBYSCORE', E, '-inf', now, 'LIMIT', 0, ENDED_AT_ONCE + 1)) do
  late = i > ENDED_AT_ONCE or left < 0
  if late then break end
  left = left - 10 - finish(lease)
end
if late and not state[4] then call('HSET', D, '\0late', '1') end
if state[4] and not late then call('HDEL', D, '\0late') end

local function alive(lease)
  local deadline = call('ZSCORE', E, lease)
  return deadline and tonumber(deadline) > now
end

-- Whether a record is on a lease that has ended. One that was left is ended now.
local function ended(packed)
  local held = packed and string.byte(packed, 17) or 0
  if held == 0 then return false end
  local lease = string.sub(packed, 18, 17 + held)
  if alive(lease) then return false end
  finish(lease)
  return true
end
