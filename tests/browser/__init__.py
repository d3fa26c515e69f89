"""What a web page may do, shown in a real browser."""
