"""What is run by hand: each command is one line that leads to a module in here."""
