"""How ``pick`` chooses one instance: exclusion, rests after failures, zones, turns by weight, sticky keys. No I/O."""
