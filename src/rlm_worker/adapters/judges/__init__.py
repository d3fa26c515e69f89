"""Models that judge texts instead of writing any: how they are asked and what they answer."""
