"""What a session writes down in its SQLite, so that a crash loses nothing that was paid for."""
