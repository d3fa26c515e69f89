"""JSON Schema of others: read once, checked in a bounded number of steps, never turned into code."""
