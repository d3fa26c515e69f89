"""Questions with known answers, put to real models by every strategy."""
