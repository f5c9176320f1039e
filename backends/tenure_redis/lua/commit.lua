-- A transaction: all preconditions hold and all operations are applied at one revision, or nothing changes. At most once.
--
-- ARGV 4     number of preconditions, then for each: kind (a absent, e exists, u unchanged), key, revision in 8 bytes
--      then  operations until the end, for each: kind (p put, d delete), key, value, lease ('' for none)
-- Answers one line: "ok REVISION DELETED", "conflict REVISION", "nolease LEASE", "stale".
local records = {}
local function record(key)
  local found = records[key]
  if found == nil then
    found = call('HGET', D, key)
    records[key] = found
  end
  return found
end

-- Ending leases makes revisions, so it comes before everything else.
if late then
  local first = 5 + 3 * tonumber(ARGV[4])
  for j = 6, first - 1, 3 do ended(call('HGET', D, ARGV[j])) end
  for j = first + 1, #ARGV, 4 do ended(call('HGET', D, ARGV[j])) end
end

local i = 5
for _ = 1, tonumber(ARGV[4]) do
  local kind, found = ARGV[i], record(ARGV[i + 1])
  local holds
  if kind == 'u' then
    holds = found and string.sub(found, 9, 16) == ARGV[i + 2]
  elseif kind == 'a' then
    holds = not found
  else
    holds = found and true
  end
  if not holds then return finally('conflict ' .. text(revision)) end
  i = i + 3
end

-- Everything is decided before anything is written: a script that fails half way isn't rolled back.
local revised = following()
local at = struct.pack('>I8', revised)
local entry, fields, gone, size = {}, {}, {}, 0
local added, attached, detached = {}, {}, {}
for j = i, #ARGV, 4 do
  local key, lease = ARGV[j + 1], ARGV[j + 3]
  local before = record(key)
  local held = ''
  local whole = before and #before >= 17  -- else another program wrote it: a put or a delete puts it right
  if whole and string.byte(before, 17) > 0 then held = string.sub(before, 18, 17 + string.byte(before, 17)) end
  if ARGV[j] == 'p' then
    if lease ~= '' and not alive(lease) then return finally('nolease ' .. lease) end
    local packed = (whole and string.sub(before, 1, 8) or at) .. at .. string.char(#lease) .. lease .. ARGV[j + 2]
    fields[#fields + 1] = key
    fields[#fields + 1] = packed
    entry[#entry + 1] = 'p' .. key
    entry[#entry + 1] = packed
    size = size + #key + #packed
    if not before then
      added[#added + 1] = 0
      added[#added + 1] = key
    end
    if lease ~= held and lease ~= '' then
      attached[#attached + 1] = 0
      attached[#attached + 1] = lease .. key
    end
  elseif before then
    lease = ''
    gone[#gone + 1] = key
    size = size + #key
  end
  if held ~= '' and lease ~= held then detached[#detached + 1] = held .. key end
end

if #fields == 0 and #gone == 0 then return finally('ok ' .. text(revision) .. ' 0') end

permit_entry()
if #gone > 0 then permit_taking_out() end
if #added > 0 then permit('ZADD', Z, 0, '') end
if #detached > 0 then permit('ZREM', H, '') end
if #attached > 0 then permit('ZADD', H, 0, '') end

local function take_out()
  remove('HDEL', D, gone)
  remove('ZREM', Z, gone)
end

-- With a full memory the first command is refused unless it frees some: deletes alone get through.
local deletes_only = #fields == 0
if deletes_only then take_out() end
if #gone > 0 then
  entry[#entry + 1] = 'd'
  entry[#entry + 1] = table.concat(gone, '\0')
end
append(revised, size, entry)
call('HSET', D, '\0', text(revision), '\0op', head, unpack(fields))
if not deletes_only then take_out() end
if #added > 0 then call('ZADD', Z, unpack(added)) end
remove('ZREM', H, detached)
if #attached > 0 then call('ZADD', H, unpack(attached)) end
return finally('ok ' .. text(revision) .. ' ' .. #gone)
