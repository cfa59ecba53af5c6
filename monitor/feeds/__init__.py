"""What other programs read: one format a file, each a pure function from a snapshot to bytes."""
