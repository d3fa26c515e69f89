"""What answers are worth, measured: seeded sets with known truth."""
