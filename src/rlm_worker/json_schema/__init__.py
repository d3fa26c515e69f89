"""JSON Schema of others: read once, then checked against values in a bounded number of steps."""
