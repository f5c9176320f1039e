-- One key and the revision, with no ended lease's key among them. ARGV 3: the key.
return call('HMGET', D, ARGV[3], '\0')
