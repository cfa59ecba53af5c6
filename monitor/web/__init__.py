"""The page and the feeds: a process of its own that reads what is stored and writes nothing."""
