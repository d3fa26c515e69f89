"""What a session writes down, in SQLite, so that a crash forgets nothing that was paid for."""
