-- Is a revision of the past in this store's history?
-- ARGV 3: identity of the store, '' if not known   4: the revision   5: the op that made it, '' if not known
-- Answers {same | other | trimmed, identity, revision now, oldest revision in the log}
local head = call('HMGET', D, '\0id', '\0')
local oldest = call('XRANGE', S, '-', '+', 'COUNT', 1)[1]
local first = oldest and string.match(oldest[1], '^%d+') or head[2]
local verdict = 'same'
if (ARGV[3] ~= '' and ARGV[3] ~= head[1]) or tonumber(ARGV[4]) > revision then
  verdict = 'other'
else
  local entry = call('XRANGE', S, ARGV[4] .. '-0', ARGV[4] .. '-0')[1]
  if not entry then
    verdict = 'trimmed'
  elseif ARGV[5] ~= '' and entry[2][2] ~= ARGV[5] then
    verdict = 'other'
  end
end
return {verdict, head[1], head[2], first}
