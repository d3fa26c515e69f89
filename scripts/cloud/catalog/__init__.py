"""What is published of models today, and the file in which the Worker keeps it."""
