"""gather → plan → apply → status: the one way through, for every key and every reason to look at it."""
