-- A new lease. ARGV 3: its id, never used before   4: ttl in milliseconds
-- Times are cut to milliseconds, so one more is given: a lease never ends early.
permit('HSET', L, ARGV[3], ARGV[4])
call('ZADD', E, now + tonumber(ARGV[4]) + 1, ARGV[3])
call('HSET', L, ARGV[3], ARGV[4])
return 1
