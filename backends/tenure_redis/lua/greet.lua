-- Try every command that the other scripts use, so that a user without the right to one is told at the start and not
-- in the middle of a transaction. Runs without the prelude. KEYS 1: a key for trying. Answers the refusals by name.
local refused = {}
local function try(...)
  local ok = redis.pcall(...)
  if type(ok) == 'table' and ok.err then
    if string.find(ok.err, 'ACL failure') then
      refused[#refused + 1] = string.lower((...))
    elseif not string.find(ok.err, '^OOM') and not string.find(ok.err, '^MISCONF') then
      return ok -- and those two mean that the user may, but the server is full: it can be read all the same
    end
  end
end
local K = KEYS[1]
local steps = {
  {'SET', K, '1', 'PX', 1000}, {'GET', K}, {'DEL', K},
  {'HSET', K, 'f', '1'}, {'HGET', K, 'f'}, {'HMGET', K, 'f'}, {'HDEL', K, 'f'},
  {'ZADD', K, 0, 'm'}, {'ZSCORE', K, 'm'}, {'ZRANGE', K, 0, 0}, {'ZRANGEBYLEX', K, '-', '+'},
  {'ZRANGEBYSCORE', K, '-inf', 0}, {'ZREM', K, 'm'},
  {'XADD', K, '1-0', 'f', '1'}, {'XRANGE', K, '-', '+'}, {'XREAD', 'STREAMS', K, '0'}, {'DEL', K},
}
for _, step in ipairs(steps) do
  local broken = try(unpack(step))
  if broken then return broken end
end
return refused
