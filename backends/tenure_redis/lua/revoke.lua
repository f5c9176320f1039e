-- End leases now, each with its keys at a revision of its own. ARGV 3...: ids. Answers 1 for each that was alive.
local were = {}
for i = 3, #ARGV do
  local living = alive(ARGV[i])
  if living then finish(ARGV[i]) end
  were[#were + 1] = living and 1 or 0
end
return were
