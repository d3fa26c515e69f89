"""Who judges which chunks are worth reading when not all can be, and in which order."""
