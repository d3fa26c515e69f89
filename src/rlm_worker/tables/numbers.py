"""Numbers in text, exactly as they are written."""
