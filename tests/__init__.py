"""The tests, by what they need: nothing (unit, property, client), a browser, or the real workerd."""
