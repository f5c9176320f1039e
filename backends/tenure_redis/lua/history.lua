-- Does the log have all that followed a revision, and did this store ever have it? Revisions are unique, so one that is
-- in the log, or that the log begins after, belongs to this history.
-- A log that begins with the store's first entry has lost none.
-- ARGV 3: the revision. Answers {same | other | trimmed, revision now, the revision that the log begins after}
local after = tonumber(ARGV[3])
local oldest = call('XRANGE', S, '-', '+', 'COUNT', 1)[1]
local start, whole = revision, false
if oldest then
  local first = tonumber(string.match(oldest[1], '^%d+'))
  start = tonumber(string.match(oldest[2][2], '^(%d+) %d+ %d+$') or nil) or first - 1
  whole = start == first
end
local verdict = 'other'
if after == revision or after == start then
  verdict = 'same'
elseif after < start and not whole then
  verdict = 'trimmed'
elseif after < revision and #call('XRANGE', S, ARGV[3] .. '-0', ARGV[3] .. '-0') > 0 then
  verdict = 'same'
end
return {verdict, text(revision), text(start)}
